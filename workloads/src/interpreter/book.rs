//! The book of a run, by whatever clock it goes: which workers are free, under which process each one's
//! operations go, what context its last get gave; and the lines that begin and complete operations.

use std::sync::Arc;

use checker::history::op::{Kind, Op};
use dynamo_protocol::NodeId;

use crate::workload::client::Completion;
use crate::workload::generator::{Action, Call, Outcome, Worker};

/// The book. `T` is a context, as whoever has the calls done knows it.
pub struct Book<T> {
    /// Of each worker, the process its operations are journalled under.
    processes: Vec<u64>,
    free: Vec<Worker>,
    /// Of each worker's last get: its index in the history, and the context it gave.
    contexts: Vec<Option<(u64, T)>>,
    names: Vec<Arc<str>>,
}

/// An operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    worker: Worker,
    /// Whether a final get counts as one is known when it is answered: its completion says so.
    is_final_get: bool,
}

impl<T: Clone> Book<T> {
    /// So many workers, all of them free.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            processes: (0..workers as u64).collect(),
            free: (0..workers).map(Worker).collect(),
            contexts: vec![None; workers],
            names: Vec::new(),
        }
    }

    /// The workers without an open operation, in order.
    #[must_use]
    pub fn free(&self) -> &[Worker] {
        &self.free
    }

    /// A worker begins a call: the line that says so, without what a put writes.
    ///
    /// # Panics
    /// If the worker is not free: the generator is broken.
    pub fn begin(&mut self, worker: Worker, call: &Call) -> (Open, Op) {
        let at = self.free.iter().position(|free| *free == worker);
        self.free.remove(at.expect("a generator picks a worker that is free"));
        let is_final_get = call.is_final && call.action == Action::Get;
        let mut line = Op::invoke(self.processes[worker.0], call.action.f())
            .key(call.key.clone())
            .node(self.name(call.node));
        line.is_final = call.is_final && !is_final_get;
        line.context = call.action.context();
        (Open { worker, is_final_get }, line)
    }

    /// The context that the worker's last get gave, if `get` is the index of that get in the history.
    #[must_use]
    pub fn context(&self, worker: Worker, get: u64) -> Option<&T> {
        let (index, context) = self.contexts[worker.0].as_ref()?;
        (*index == get).then_some(context)
    }

    /// An operation is completed by the line at `index`, and its worker is free again: what the generator is
    /// told of it, and why it was not ok. `seen` are the values that a read shows.
    pub fn complete<'v, V>(
        &mut self,
        Open { worker, .. }: Open,
        (index, kind): (u64, Kind),
        completion: &'v Completion<V, T>,
        seen: impl FnOnce(&'v V) -> Vec<&'v serde_json::Value>,
    ) -> (Outcome<'v>, &'v str) {
        if kind == Kind::Info {
            // Nobody knows when that operation ends: its process does nothing any more.
            self.processes[worker.0] += self.processes.len() as u64;
        }
        let at = self.free.partition_point(|free| *free < worker);
        self.free.insert(at, worker);
        let outcome = match completion {
            Completion::Ok { values, context } => {
                if let Some(context) = context {
                    self.contexts[worker.0] = Some((index, context.clone()));
                }
                Outcome::Ok { index, values: seen(values) }
            }
            Completion::Uncounted { .. } => Outcome::Uncounted,
            Completion::Fail(_) => Outcome::Fail,
            Completion::Info(_) => Outcome::Info,
        };
        (outcome, completion.why())
    }

    fn name(&mut self, node: NodeId) -> Arc<str> {
        let at = usize::from(node.0);
        while self.names.len() <= at {
            let id = u16::try_from(self.names.len()).expect("below an id");
            self.names.push(NodeId(id).to_string().into());
        }
        self.names[at].clone()
    }
}

/// Whether an operation only reads.
#[must_use]
pub(crate) fn reads(line: &Op) -> bool {
    !matches!(&*line.f, "put" | "delete")
}

impl Open {
    /// An operation of a worker who does no other.
    #[must_use]
    pub fn only(is_final_get: bool) -> Self {
        Self { worker: Worker(0), is_final_get }
    }

    /// Whose it is.
    #[must_use]
    pub fn worker(self) -> Worker {
        self.worker
    }

    /// Whether it is a final get, which counts only if nobody suspected anybody meanwhile.
    #[must_use]
    pub fn is_final_get(self) -> bool {
        self.is_final_get
    }

    /// The line that completes it, made of the one that began it, without what a read showed.
    #[must_use]
    pub fn completed<V, T>(self, mut line: Op, completion: &Completion<V, T>) -> Op {
        line.kind = match completion {
            Completion::Ok { .. } | Completion::Uncounted { values: Some(_), .. } => Kind::Ok,
            Completion::Uncounted { values: None, .. } | Completion::Fail(_) => Kind::Fail,
            // A read without an answer has surely changed nothing.
            Completion::Info(_) if reads(&line) => Kind::Fail,
            Completion::Info(_) => Kind::Info,
        };
        line.error = (line.kind != Kind::Ok).then(|| completion.why().into());
        line.is_final |= self.is_final_get && matches!(completion, Completion::Ok { .. });
        line
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    type Ended = Completion<Vec<Value>, u8>;

    const WORKER: Worker = Worker(1);

    fn call(action: Action, is_final: bool) -> Call {
        Call { key: "k".into(), node: NodeId(3), action, is_final }
    }

    fn put(context: Option<u64>) -> Action {
        Action::Put { value: json!([1]), context }
    }

    /// Begins a call and completes it by line 7: the two lines, and what the generator is told.
    fn done(book: &mut Book<u8>, call: &Call, completion: &Ended) -> (Op, Op, String) {
        let (open, invoke) = book.begin(WORKER, call);
        assert!(!book.free().contains(&WORKER));
        let line = open.completed(invoke.clone(), completion);
        let (outcome, why) =
            book.complete(open, (7, line.kind), completion, |values| values.iter().collect());
        assert_eq!(book.free(), [0, 1, 2].map(Worker));
        let told = format!("{outcome:?} {why}");
        (invoke, line, told)
    }

    fn got(context: u8) -> Ended {
        Completion::Ok { values: vec![json!(5)], context: Some(context) }
    }

    #[test]
    fn a_call_is_begun_by_a_line_that_says_all_of_it_but_what_is_written() {
        let mut book = Book::<u8>::new(3);
        let (_, line) = book.begin(WORKER, &call(put(Some(4)), false));
        assert_eq!((&*line.f, line.kind, line.context), ("put", Kind::Invoke, Some(4)));
        assert_eq!((line.key.as_deref(), line.node.as_deref()), (Some("k"), Some("n3")));
        assert_eq!((line.value, line.is_final), (None, false));
        assert_eq!(book.free(), [0, 2].map(Worker));
    }

    #[test]
    fn only_a_get_that_counts_gives_a_context_and_only_the_last_one_does() {
        let mut book = Book::new(3);
        done(&mut book, &call(Action::Get, false), &got(9));
        assert_eq!((book.context(WORKER, 7), book.context(WORKER, 8)), (Some(&9), None));
        done(&mut book, &call(Action::Get, true), &got(8).uncounted("no calm"));
        assert_eq!(book.context(WORKER, 7), Some(&9));
        assert_eq!(book.context(Worker(0), 7), None);
    }

    #[test]
    fn after_an_operation_nobody_knows_the_end_of_its_worker_goes_on_as_another_process() {
        let mut book = Book::new(3);
        let silent = Ended::Info("no answer".to_owned());
        let (_, line, _) = done(&mut book, &call(put(None), false), &silent);
        assert_eq!((line.kind, line.error.as_deref()), (Kind::Info, Some("no answer")));
        let (next, ..) = done(&mut book, &call(put(None), false), &silent);
        assert_eq!(next.process, checker::history::op::Process::Client(4));
    }

    #[test]
    fn a_read_without_an_answer_failed_and_its_process_goes_on() {
        let mut book = Book::new(3);
        let silent = Ended::Info("no answer".to_owned());
        for action in [Action::Get, Action::Home] {
            let (_, line, told) = done(&mut book, &call(action, false), &silent);
            assert_eq!((line.kind, &*told), (Kind::Fail, "Info no answer"));
        }
        let (next, ..) = done(&mut book, &call(Action::Get, false), &silent);
        assert_eq!(next.process, checker::history::op::Process::Client(1));
    }

    #[test]
    fn a_get_is_final_only_once_it_is_known_to_count_and_a_read_of_a_home_from_the_start() {
        let mut book = Book::new(3);
        for (action, completion, begun, ended) in [
            (Action::Get, got(1), false, true),
            (Action::Get, got(1).uncounted("no calm"), false, false),
            (Action::Get, Ended::Fail("refused".to_owned()), false, false),
            (Action::Home, got(1), true, true),
        ] {
            let (invoke, line, _) = done(&mut book, &call(action, true), &completion);
            assert_eq!((invoke.is_final, line.is_final), (begun, ended), "{completion:?}");
        }
    }

    #[test]
    fn a_final_get_that_does_not_count_keeps_its_answer_or_its_error_in_the_history() {
        let mut book = Book::new(3);
        let get = call(Action::Get, true);
        let (_, line, told) = done(&mut book, &get, &got(1).uncounted("no calm"));
        assert_eq!((line.kind, line.error, &*told), (Kind::Ok, None, "Uncounted no calm"));
        let refused = Ended::Fail("refused".to_owned()).uncounted("no calm");
        let (_, line, told) = done(&mut book, &get, &refused);
        let error = "refused; no calm";
        assert_eq!((line.kind, line.error.as_deref()), (Kind::Fail, Some(error)));
        assert_eq!(told, format!("Uncounted {error}"));
    }
}
