//! The interpreter of the wall clock.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use checker::history::op::Op;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Tally;
use super::book::{Book, Open, reads};
use crate::run::journal::Journal;
use crate::workload::client::{Client, Completion};
use crate::workload::generator::{Action, Call, Context, Event, Generator, Next, Worker};

/// Runs generators one after the other with the same workers.
pub struct Interpreter<C> {
    client: Arc<C>,
    journal: Arc<Journal>,
    tally: Arc<Tally>,
    book: Book<Bytes>,
    open: JoinSet<Done>,
}

/// A completed call, with the line that began it.
struct Done {
    open: Open,
    invoke: Op,
    completion: Completion,
    took: Duration,
}

impl<C: Client> Interpreter<C> {
    /// An interpreter with so many workers.
    pub fn new(client: Arc<C>, journal: Arc<Journal>, tally: Arc<Tally>, workers: usize) -> Self {
        Self { client, journal, tally, book: Book::new(workers), open: JoinSet::new() }
    }

    /// What has its calls done.
    pub fn client(&self) -> &C {
        &self.client
    }

    /// Does all that the generator asks for; returns when the last operation has completed.
    ///
    /// # Errors
    /// If the history cannot be written, or a call broke: the run is over.
    pub async fn run(&mut self, generator: &mut impl Generator) -> Result<()> {
        loop {
            let context = Context { now: self.journal.now(), free: self.book.free() };
            match generator.op(&context) {
                Next::Op(worker, call) => self.begin(worker, call)?,
                Next::Wait(until) => self.wait(until, generator).await?,
                Next::Done if self.open.is_empty() => return Ok(()),
                Next::Done => self.complete_one(generator).await?,
            }
        }
    }

    fn begin(&mut self, worker: Worker, call: Call) -> Result<()> {
        let context = self.context(worker, &call)?;
        let (open, mut invoke) = self.book.begin(worker, &call);
        if let Action::Put { value, .. } = &call.action {
            invoke.value = Some(value.clone());
        }
        self.journal.append(invoke.clone())?;
        let client = self.client.clone();
        self.open.spawn(async move {
            let started = tokio::time::Instant::now();
            let completion = client.call(worker, call, context).await;
            Done { open, invoke, completion, took: started.elapsed() }
        });
        Ok(())
    }

    /// The context a put asks for by the index of its get.
    fn context(&self, worker: Worker, call: &Call) -> Result<Option<Bytes>> {
        let Some(get) = call.action.context() else { return Ok(None) };
        let context = self.book.context(worker, get);
        context.cloned().map(Some).with_context(|| format!("op {get} is not its worker's last get"))
    }

    async fn wait(
        &mut self,
        until: Option<Duration>,
        generator: &mut impl Generator,
    ) -> Result<()> {
        match until {
            None => {
                anyhow::ensure!(!self.open.is_empty(), "the workload waits for nothing, for ever");
                self.complete_one(generator).await
            }
            Some(until) => {
                let until = sleep_until(self.journal.instant(until));
                tokio::select! {
                    biased;
                    Some(done) = self.open.join_next() => self.complete(done?, generator),
                    () = until => Ok(()),
                }
            }
        }
    }

    async fn complete_one(&mut self, generator: &mut impl Generator) -> Result<()> {
        let done = self.open.join_next().await.expect("an operation is open");
        self.complete(done.context("a call broke")?, generator)
    }

    fn complete(&mut self, done: Done, generator: &mut impl Generator) -> Result<()> {
        let Done { open, invoke, completion, took } = done;
        let mut line = open.completed(invoke, &completion);
        if let Some(values) = completion.values().filter(|_| reads(&line)) {
            line.value = Some(Value::Array(values.clone()));
        }
        let kind = line.kind;
        let index = self.journal.append(line)?;
        self.tally.count(kind, took);
        let (outcome, why) =
            self.book.complete(open, (index, kind), &completion, |values| values.iter().collect());
        let (now, worker) = (self.journal.now(), open.worker());
        generator.update(&Event { now, worker, outcome, why });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use checker::history::History;
    use dynamo_protocol::NodeId;

    use super::*;
    use crate::plan::Plan;
    use crate::workload::cart::Carts;
    use crate::workload::generator::TimeLimit;

    /// One register a key; every seventh put goes unanswered and every fifth is refused.
    #[derive(Default)]
    struct Stub(Mutex<(u64, BTreeMap<Arc<str>, Value>)>);

    impl Client for Stub {
        async fn call(&self, _: Worker, call: Call, context: Option<Bytes>) -> Completion {
            tokio::task::yield_now().await;
            let mut state = self.0.lock().unwrap();
            match call.action {
                Action::Get | Action::Home => Completion::Ok {
                    values: state.1.get(&call.key).cloned().into_iter().collect(),
                    context: Some(Bytes::from_static(b"context")),
                },
                Action::Delete { .. } => unreachable!("carts delete nothing"),
                Action::Put { value, .. } => {
                    assert_eq!(context.as_deref(), Some(b"context".as_slice()));
                    state.0 += 1;
                    match state.0 {
                        count if count % 7 == 0 => Completion::Info("no answer".to_owned()),
                        count if count % 5 == 0 => Completion::Fail("refused".to_owned()),
                        _ => {
                            state.1.insert(call.key, value);
                            Completion::Ok { values: vec![], context: None }
                        }
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_run_leaves_a_sound_history_of_what_was_asked_and_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let journal = Arc::new(Journal::create(&path).unwrap());
        let tally = Arc::new(Tally::default());
        let mut plan = Plan::default().workload;
        plan.think = crate::plan::Span::millis(1);
        let carts = Carts::new(&plan, vec![NodeId(1), NodeId(2)], 7);
        let mut limited = TimeLimit::new(carts, Duration::from_millis(300));
        let mut interpreter =
            Interpreter::new(Arc::new(Stub::default()), journal, tally.clone(), 4);
        interpreter.run(&mut limited).await.unwrap();

        let history = History::read(&path).unwrap();
        let open = history.pairs().filter(|pair| pair.completion.is_none()).count();
        assert_eq!(open, 0, "every operation is waited for");
        let counts = tally.counts();
        assert!(counts.ok > 50 && counts.fail > 3 && counts.info > 3, "{counts:?}");
        assert_eq!(counts.ok + counts.fail + counts.info, history.pairs().count() as u64);
        let checks: [&dyn checker::verdict::Checker; 1] =
            [&checker::history::wellformed::WellFormed::default()];
        let budget = checker::budget::Budget::default();
        let report = &checker::compose::compose(&checks, &history, &budget)["well_formed"];
        assert_eq!(report.verdict(), checker::verdict::Verdict::Valid, "{report:?}");
    }
}
