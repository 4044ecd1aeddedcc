//! What is wrong with an object, in words: the core of it first.

use super::calls::{Call, Object};
use super::frontier::Held;
use super::{Linearizable, Wrong};
use crate::judge::finding::{counted, span};
use crate::spec::{Needs, Spec, Tie};

/// How much of the history the states that were possible are told from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// All of it, as far as it had begun.
    All,
    /// The calls of the witness alone, each of which writes a value of its own: what is not among them
    /// may have been written after what is.
    Witness,
}

impl<S: Spec> Linearizable<S> {
    /// `after #12 the value was 3 or 4; #17 read 5`. None if a state that was possible would do: then
    /// it is not that one call alone.
    pub(super) fn core(
        &self,
        object: &Object<S::Op>,
        calls: &[Call<S::Op>],
        stuck: u32,
        held: &Held<S::State>,
        basis: Basis,
    ) -> Option<String> {
        let call = &calls[stuck as usize];
        let mut states = held.before.iter().chain(&held.until);
        if states.any(|state| self.spec.allows(state, &call.op)) {
            return None;
        }
        let shown = |states: &[S::State]| -> Option<String> {
            const MOST: usize = 4;
            let mut words = states.iter().take(MOST);
            let words: Option<Vec<String>> =
                words.by_ref().map(|state| self.spec.show(state, &object.values)).collect();
            let words = words?.join(" or ");
            Some(match states.len().saturating_sub(MOST) {
                0 => words,
                1 => format!("{words} or another"),
                more => format!("{words} or one of {more} others"),
            })
        };
        let what = self.spec.object();
        let after = match held.after {
            Some(at) => format!("after #{}", calls[at as usize].name),
            None => "at the beginning".to_owned(),
        };
        let mut text = format!("{after} {what} was {}", shown(&held.before)?);
        if !held.until.is_empty() {
            text += &format!(", until #{} returned also {}", call.name, shown(&held.until)?);
        }
        if basis == Basis::Witness {
            text += " or a later one";
        }
        let succeeded = if self.spec.is_observer(&call.op) { "" } else { " succeeded" };
        let said = self.spec.describe(&call.op, &object.values);
        text += &format!("; #{} {said}{succeeded}", call.name);
        if held.after.is_none()
            && held.until.is_empty()
            && held.before == [self.spec.init()]
            && let Some(hint) = self.initial_hint(object, call)
        {
            text += &hint;
        }
        Some(text)
    }

    /// For a call that would have been right if the object had begun with another value.
    fn initial_hint(&self, object: &Object<S::Op>, call: &Call<S::Op>) -> Option<String> {
        let Needs::Only(state) = self.spec.needs(&call.op) else { return None };
        let value = self.spec.initial_of(&state, &object.values)?;
        Some(format!(": is {value} the initial value? (--initial {value})"))
    }

    pub(super) fn in_words(&self, object: &Object<S::Op>, wrong: &Wrong) -> String {
        let what = self.without_key(object, wrong);
        match &object.key {
            Some(key) => format!("key {key:?}: {what}"),
            None => what,
        }
    }

    fn without_key(&self, object: &Object<S::Op>, wrong: &Wrong) -> String {
        let call = |at: u32| &object.calls[at as usize];
        let said = |at: u32| {
            let call = call(at);
            format!("#{} {}", call.name, self.spec.describe(&call.op, &object.values))
        };
        match (wrong.rule, wrong.calls.as_slice()) {
            ("nobody_wrote", &[read]) => self.nobody_wrote(object, wrong, call(read), &said(read)),
            ("from_the_future", &[a, b]) => {
                let read_first = call(a).returned < Some(call(b).invoked);
                let (read, write) = if read_first { (a, b) } else { (b, a) };
                let (at, began) = (call(read).returned.unwrap_or(0), call(write).invoked);
                let late = span(at, began);
                format!("{} and returned {late} before {} began", said(read), said(write))
            }
            (_, calls) => {
                const MOST: usize = 8;
                let shown = calls.iter().take(MOST).map(|at| said(*at));
                let mut list = shown.collect::<Vec<_>>().join(", ");
                if calls.len() > MOST {
                    list.push_str(", ...");
                }
                let ops = counted(calls.len(), "operation");
                match (&wrong.core, wrong.stuck) {
                    (Some(core), _) if calls.len() == 1 => core.clone(),
                    (Some(core), _) => format!("{core} ({ops} show it: {list})"),
                    (None, Some(at)) if calls.len() == 1 => {
                        format!("#{} cannot have happened when it returned: {list}", call(at).name)
                    }
                    (None, Some(at)) => format!(
                        "no order explains these {ops}, #{} cannot have happened when it returned: \
                         {list}",
                        call(at).name
                    ),
                    (None, None) => format!("no order explains these {ops}: {list}"),
                }
            }
        }
    }

    fn nobody_wrote(
        &self,
        object: &Object<S::Op>,
        wrong: &Wrong,
        read: &Call<S::Op>,
        said: &str,
    ) -> String {
        if let Some(failed) = self.failed_source(object, read) {
            return format!("{said}, which only the failed op #{failed} wrote");
        }
        match self.initial_hint(object, read).filter(|_| wrong.is_first) {
            Some(hint) => format!("{said} before anything wrote it{hint}"),
            None => format!("{said}, which nobody wrote"),
        }
    }

    /// The failed call that would have made what a call used. One that began when the call had
    /// returned is not to blame.
    fn failed_source(&self, object: &Object<S::Op>, call: &Call<S::Op>) -> Option<u64> {
        let in_time = |failed: &&Call<S::Op>| Some(failed.invoked) <= call.returned;
        let failed: Vec<&Call<S::Op>> = object.failed.iter().filter(in_time).collect();
        let mut ops = vec![&call.op];
        ops.extend(failed.iter().map(|failed| &failed.op));
        let ties = self.spec.ties(&ops);
        let made = |tie: &Tie| tie.makes.iter().any(|thing| ties[0].uses.contains(thing));
        let at = ties[1..].iter().position(made)?;
        Some(failed[at].name)
    }
}
