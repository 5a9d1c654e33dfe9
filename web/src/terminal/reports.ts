/* eslint-disable no-control-regex -- terminal reports are made of control characters */

/**
 * What a terminal emulator says by itself: device attributes, status and cursor position reports, mode and window
 * reports, focus changes, colour and other answers in OSC or DCS strings.
 */
const REPORTS = [
  /^\x1b\[[?>=]?[\d;]*c$/u,
  /^\x1b\[\??[\d;]*[nR]$/u,
  /^\x1b\[\??[\d;]*\$y$/u,
  /^\x1b\[[\d;]+t$/u,
  /^\x1b\[[IO]$/u,
  /^\x1b\]\d+;[^\x07\x1b]*(?:\x07|\x1b\\)$/u,
  /^\x1bP[^\x1b]*\x1b\\$/u,
];

/** Does `data` look like something the emulator sent by itself? Some function keys look the same. */
export function isReport(data: string): boolean {
  return data.charCodeAt(0) === 0x1b && REPORTS.some((report) => report.test(data));
}
