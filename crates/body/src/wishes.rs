//! Wishes of others that a person is told of: any guest can make hundreds a second, under as many ids.

/// Minimum interval of what is told, in microseconds. A guess.
pub const WISHES_EACH_US: u64 = 1_000_000;

/// Wishes of one kind, of which one is told each second, with the number of the others.
#[derive(Debug)]
pub struct Wishes<T> {
    told_us: Option<u64>,
    /// The last wish that wasn't told, and the number of those before it.
    untold: Option<(T, usize)>,
}

impl<T> Default for Wishes<T> {
    fn default() -> Wishes<T> {
        Wishes { told_us: None, untold: None }
    }
}

impl<T> Wishes<T> {
    /// Takes a wish that has come. Returns it if it is to be told now, with the number of others that weren't told
    /// since the last one; otherwise it is [`due`](Self::due) later, unless another one comes.
    pub fn come(&mut self, now_us: u64, wish: T) -> Option<(T, usize)> {
        let others = self.untold.take().map_or(0, |(_, others)| others.saturating_add(1));
        self.untold = Some((wish, others));
        self.due(now_us)
    }

    /// Returns whether a wish waits to be told.
    pub fn waits(&self) -> bool {
        self.untold.is_some()
    }

    /// Returns the last wish that wasn't told, once a second has passed since the last that was, with the number of
    /// others.
    pub fn due(&mut self, now_us: u64) -> Option<(T, usize)> {
        if self.told_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < WISHES_EACH_US) {
            return None;
        }
        let due = self.untold.take()?;
        self.told_us = Some(now_us);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_wishes_in_a_second_one_is_told_and_the_rest_counted() {
        let mut wishes = Wishes::default();
        let told: Vec<_> = (0..1000).filter_map(|at| wishes.come(5_000_000 + 1000 * at, at)).collect();
        assert_eq!(told, [(0, 0)]);
        assert_eq!(wishes.due(5_999_999), None);
        assert_eq!(wishes.due(6_000_000), Some((999, 998)));
        assert_eq!(wishes.due(9_000_000), None, "each is told or counted once");
        assert_eq!(wishes.come(9_000_000, 7), Some((7, 0)));
    }

    #[test]
    fn a_flood_of_an_hour_is_told_once_a_second_at_most() {
        let mut wishes = Wishes::default();
        let told = (0..3600 * 200).filter_map(|at| wishes.come(5000 * at, at)).collect::<Vec<_>>();
        let others: usize = told.iter().map(|(_, others)| others).sum();
        assert_eq!((told.len(), others), (3600, 3599 * 199));
    }
}
