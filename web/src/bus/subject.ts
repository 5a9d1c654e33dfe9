/** Is `pattern` something one may subscribe to? */
export function isPattern(pattern: string): boolean {
  if (pattern === '' || /\s/u.test(pattern)) return false;
  const tokens = pattern.split('.');
  return tokens.every((token, index) => token !== '' && (token !== '>' || index === tokens.length - 1));
}

/** Is `subject` something one may publish to? */
export function isSubject(subject: string): boolean {
  return isPattern(subject) && !subject.includes('*') && !subject.endsWith('>');
}

/** Does a subscription to `pattern` hear `subject`? */
export function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split('.');
  const tokens = subject.split('.');
  for (const [index, token] of wanted.entries()) {
    if (token === '>' && index === wanted.length - 1) return tokens.length > index;
    if (index >= tokens.length || (token !== '*' && token !== tokens[index])) return false;
  }
  return wanted.length === tokens.length;
}
