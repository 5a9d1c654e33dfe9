//! What people see while a command works through its steps.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

const WIDTH: usize = 24;
const BETWEEN: Duration = Duration::from_millis(100);

/// A bar on standard error, if somebody looks.
pub(super) struct Steps {
    is_shown: bool,
    painted: Option<(String, Instant)>,
}

impl Steps {
    pub fn new() -> Steps {
        Steps { is_shown: io::stderr().is_terminal(), painted: None }
    }

    /// Says how far a step is.
    pub fn show(&mut self, step: &str, done: u64, total: u64) {
        if !self.is_shown {
            return;
        }
        let is_due = match &self.painted {
            Some((name, at)) => name != step || done == total || at.elapsed() >= BETWEEN,
            None => true,
        };
        if is_due {
            self.painted = Some((step.to_owned(), Instant::now()));
            // Somebody who does not look misses nothing.
            let _ = write!(io::stderr(), "\r\x1b[K{}", line(step, done, total));
            let _ = io::stderr().flush();
        }
    }

    /// Leaves the line to what comes after.
    pub fn clear(&mut self) {
        if self.painted.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(step: &str, done: u64, total: u64) -> String {
    let share = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let full = (share * WIDTH as f64) as usize;
    format!("{step:<10} [{}{}] {:3.0} %", "=".repeat(full), " ".repeat(WIDTH - full), share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up() {
        assert_eq!(line("copying", 1, 2), "copying    [============            ]  50 %");
        assert_eq!(line("copying", 0, 0), "copying    [========================] 100 %");
        assert_eq!(line("copying", 9, 2), "copying    [========================] 100 %");
    }
}
