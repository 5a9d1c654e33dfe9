//! QR codes for terminals.

use qrcode::{Color, QrCode};

/// Light modules around a code, without which scanners do not find it.
const QUIET: usize = 2;

/// A code in half blocks, two rows of modules per line, dark on light whatever the terminal's colours; `None` for a text that
/// is too long.
pub(super) fn render(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let module = |n: usize| n.checked_sub(QUIET).filter(|n| *n < width);
        match (module(x), module(y)) {
            (Some(x), Some(y)) => colors.get(y * width + x) == Some(&Color::Dark),
            _ => false,
        }
    };
    let size = width + 2 * QUIET;
    let mut out = String::new();
    for y in (0..size).step_by(2) {
        out.push_str("\x1b[30;107m");
        for x in 0..size {
            out.push(match (is_dark(x, y), is_dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str("\x1b[0m\n");
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_square_with_its_corners() {
        let text = render("http://192.168.1.5:5000?auth_token=abc").unwrap();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.trim_start_matches("\x1b[30;107m").trim_end_matches("\x1b[0m").to_owned())
            .collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[1].starts_with("  █▀▀▀▀▀█"), "{}", lines[1]);
        assert_eq!(render(&"x".repeat(5000)), None);
    }
}
