//! The interpreter of the wall clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use checker::op::{Kind, Op};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Tally;
use crate::client::{Client, Completion};
use crate::generator::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};
use crate::journal::Journal;

/// Runs generators one after the other with the same workers.
pub struct Interpreter<C> {
    client: Arc<C>,
    journal: Arc<Journal>,
    tally: Arc<Tally>,
    /// Of each worker, the process its operations are journalled under.
    processes: Vec<u64>,
    free: Vec<Worker>,
    /// Of each worker's last get: its index in the history, and the context it gave.
    contexts: BTreeMap<Worker, (u64, Bytes)>,
    open: JoinSet<Done>,
}

/// A completed call, with the line that began it.
struct Done {
    worker: Worker,
    invoke: Op,
    is_final: bool,
    completion: Completion,
    took: Duration,
}

impl<C: Client> Interpreter<C> {
    /// An interpreter with so many workers.
    pub fn new(client: Arc<C>, journal: Arc<Journal>, tally: Arc<Tally>, workers: usize) -> Self {
        Self {
            client,
            journal,
            tally,
            processes: (0..workers as u64).collect(),
            free: (0..workers).map(Worker).collect(),
            contexts: BTreeMap::new(),
            open: JoinSet::new(),
        }
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
            let context = Context { now: self.journal.now(), free: &self.free };
            match generator.op(&context) {
                Next::Op(worker, call) => self.begin(worker, call)?,
                Next::Wait(until) => self.wait(until, generator).await?,
                Next::Done if self.open.is_empty() => return Ok(()),
                Next::Done => self.complete_one(generator).await?,
            }
        }
    }

    fn begin(&mut self, worker: Worker, call: Call) -> Result<()> {
        let at = self.free.iter().position(|free| *free == worker);
        self.free.remove(at.expect("a generator picks a worker that is free"));
        let context = self.context(worker, &call)?;
        let (invoke, is_final) = (self.invocation(worker, &call), call.is_final);
        self.journal.append(invoke.clone())?;
        let client = self.client.clone();
        self.open.spawn(async move {
            let started = tokio::time::Instant::now();
            let completion = client.call(worker, call, context).await;
            Done { worker, invoke, is_final, completion, took: started.elapsed() }
        });
        Ok(())
    }

    fn invocation(&self, worker: Worker, call: &Call) -> Op {
        let mut invoke = Op::invoke(self.processes[worker.0], call.action.f())
            .key(call.key.clone())
            .node(call.node.to_string());
        if let Action::Put { value, context } = &call.action {
            invoke.value = Some(value.clone());
            invoke.context = *context;
        }
        // Whether a final get counts as one is known when it is answered: its completion says so.
        invoke.is_final = call.is_final && call.action != Action::Get;
        invoke
    }

    /// The context a put asks for by the index of its get.
    fn context(&self, worker: Worker, call: &Call) -> Result<Option<Bytes>> {
        let Action::Put { context: Some(wanted), .. } = call.action else { return Ok(None) };
        let (get, context) = self.contexts.get(&worker).context("a put follows a get")?;
        anyhow::ensure!(*get == wanted, "a put names op {wanted}; its worker's last get is {get}");
        Ok(Some(context.clone()))
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
        let Done { worker, invoke, is_final, completion, took } = done;
        let reads = invoke.f != "put";
        let (mut line, context) = completion_line(&invoke, &completion);
        line.is_final |= is_final && matches!(completion, Completion::Ok { .. });
        let kind = line.kind;
        let index = self.journal.append(line)?;
        self.tally.count(kind, took);
        if let Some(context) = context {
            self.contexts.insert(worker, (index, context));
        }
        if kind == Kind::Info {
            // Nobody knows when that operation ends: its process does nothing any more.
            self.processes[worker.0] += self.processes.len() as u64;
        }
        let at = self.free.partition_point(|free| *free < worker);
        self.free.insert(at, worker);
        let outcome = match &completion {
            Completion::Ok { values, .. } => {
                Outcome::Ok { index, values: values.iter().filter(|_| reads).collect() }
            }
            Completion::Uncounted { .. } => Outcome::Uncounted,
            Completion::Fail(_) => Outcome::Fail,
            Completion::Info(_) => Outcome::Info,
        };
        let why = match &completion {
            Completion::Ok { .. } => "",
            Completion::Uncounted { why, .. } | Completion::Fail(why) | Completion::Info(why) => {
                why
            }
        };
        generator.update(&Event { now: self.journal.now(), worker, outcome, why });
        Ok(())
    }
}

/// The line that completes an operation, and the context it gave.
fn completion_line(invoke: &Op, completion: &Completion) -> (Op, Option<Bytes>) {
    let reads = invoke.f != "put";
    match completion {
        Completion::Ok { values, context } => {
            let line = invoke.completed(Kind::Ok);
            let line = if reads { line.value(Value::Array(values.clone())) } else { line };
            (line, context.clone())
        }
        Completion::Uncounted { values: Some(values), .. } => {
            (invoke.completed(Kind::Ok).value(Value::Array(values.clone())), None)
        }
        Completion::Uncounted { values: None, why } => {
            (invoke.completed(Kind::Fail).error(why.as_str()), None)
        }
        Completion::Fail(error) => (invoke.completed(Kind::Fail).error(error.as_str()), None),
        // A read without an answer has surely changed nothing.
        Completion::Info(error) if reads => {
            (invoke.completed(Kind::Fail).error(error.as_str()), None)
        }
        Completion::Info(error) => (invoke.completed(Kind::Info).error(error.as_str()), None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use checker::history::History;
    use dynamo_protocol::NodeId;

    use super::*;
    use crate::generator::TimeLimit;
    use crate::plan::Plan;
    use crate::workload::cart::Carts;

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
            [&checker::wellformed::WellFormed::default()];
        let budget = checker::budget::Budget::default();
        let report = &checker::compose::compose(&checks, &history, &budget)["well_formed"];
        assert_eq!(report.verdict(), checker::verdict::Verdict::Valid, "{report:?}");
    }
}
