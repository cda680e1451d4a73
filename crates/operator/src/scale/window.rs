//! The stabilization window: the highest recommendation of late.

use serde::{Deserialize, Serialize};

/// In how many parts the window is divided. Recommendations of one part count as one, the highest at the latest time,
/// so that the window's size does not follow the number of looks; a part late is soon enough.
const PARTS: u64 = 30;

/// Recommendations that may still hold the number of pods up: each is lower and later than the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Window(Vec<Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    at_ms: u64,
    pods: u32,
}

impl Window {
    /// Forgets all and begins with `pods`.
    pub(super) fn restart(&mut self, at_ms: u64, pods: u32) {
        self.0.clear();
        self.0.push(Entry { at_ms, pods });
    }

    /// Takes a recommendation in, and forgets those older than `length_ms`.
    pub(super) fn push(&mut self, at_ms: u64, pods: u32, length_ms: u64) {
        self.0.retain(|entry| at_ms.saturating_sub(entry.at_ms) < length_ms);
        if length_ms == 0 {
            return;
        }
        while self.0.last().is_some_and(|last| last.pods <= pods) {
            self.0.pop();
        }
        let part = (length_ms / PARTS).max(1);
        match self.0.last_mut() {
            Some(last) if last.at_ms / part == at_ms / part => last.at_ms = at_ms,
            _ => self.0.push(Entry { at_ms, pods }),
        }
        // Only a window that was made much shorter or that someone else wrote can be longer.
        let excess = self.0.len().saturating_sub(2 * usize::try_from(PARTS).unwrap_or(usize::MAX));
        if let (Some(first), 1..) = (self.0.first().copied(), excess) {
            self.0.drain(..excess);
            if let Some(head) = self.0.first_mut() {
                head.pods = first.pods;
            }
        }
    }

    /// The highest recommendation; 0 when there is none.
    pub(super) fn highest(&self) -> u32 {
        self.0.first().map_or(0, |entry| entry.pods)
    }

    /// When fewer than `pods` will do, if every further recommendation is lower.
    pub(super) fn lets_go_of(&self, pods: u32, length_ms: u64) -> Option<u64> {
        self.0.iter().rfind(|entry| entry.pods >= pods).map(|entry| entry.at_ms.saturating_add(length_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_holds_until_it_is_as_old_as_the_window() {
        let mut window = Window::default();
        window.push(0, 9, 60_000);
        window.push(30_000, 4, 60_000);
        assert_eq!((window.highest(), window.lets_go_of(9, 60_000)), (9, Some(60_000)));
        window.push(59_999, 1, 60_000);
        assert_eq!(window.highest(), 9);
        window.push(60_000, 1, 60_000);
        assert_eq!(window.highest(), 4);
    }

    #[test]
    fn a_thousand_looks_a_second_do_not_make_it_grow() {
        let mut window = Window::default();
        for at_ms in 0..100_000 {
            window.push(at_ms, u32::MAX - u32::try_from(at_ms).unwrap(), 10_000);
            assert!(window.0.len() <= 32, "{}", window.0.len());
        }
    }

    #[test]
    fn what_counts_as_one_is_never_forgotten_early() {
        let mut window = Window::default();
        window.push(0, 9, 60_000);
        window.push(1_900, 8, 60_000);
        window.push(61_000, 1, 60_000);
        assert_eq!(window.highest(), 9);
        window.push(61_900, 1, 60_000);
        assert_eq!(window.highest(), 1);
    }
}
