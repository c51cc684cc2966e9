//! Locks that ignore poisoning: the data they guard in this crate is valid between any two statements, so it
//! is valid after a panic too.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
