//! Catching the core's assertions: a broken invariant is a finding with a trace, not the end of
//! the search.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `step`; what it said if it panicked. Nothing is printed.
pub(crate) fn catch(step: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                before(info);
            }
        }));
    });
    CATCHING.set(true);
    let caught = panic::catch_unwind(AssertUnwindSafe(step));
    CATCHING.set(false);
    let payload = caught.err()?;
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.unwrap_or_else(|| "a panic without a text".to_owned()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_is_caught_with_its_text() {
        assert_eq!(super::catch(|| ()), None);
        assert_eq!(
            super::catch(|| panic!("dot {} is not closed", 1)).unwrap(),
            "dot 1 is not closed"
        );
    }
}
