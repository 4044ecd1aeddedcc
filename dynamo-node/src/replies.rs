//! Where answers to clients go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_protocol::Reply;
use tokio::sync::{Notify, oneshot};

use crate::queue::{Queue, Reader};

/// How many bytes of answers that a session has not taken are kept for it: as many as are under way to it
/// beyond that (`http2`), so that a client which reads never waits for them.
const SESSION_BYTES: usize = 8 << 20;
/// The same for all sessions of a node together: what a node has under way for its clients while some of
/// them are slow, and the most that those who never read can make it hold.
const ALL_BYTES: usize = 64 << 20;
/// Answers up to this size are kept whatever their number of bytes: they are as many as requests may be open
/// or not taken, and what a put is answered must not be lost.
const SMALL: usize = 256;

/// What a client is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// By the protocol.
    Reply(Reply),
    /// By the host, which has more to do than it can: surely not applied.
    Overloaded(Overload),
    /// By the host, which is ending: surely not applied.
    Stopping,
    /// By the host, which did not understand: surely not applied.
    Malformed(String),
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overload {
    pub(crate) what: Excess,
    /// When it is worth asking again.
    pub(crate) after: Duration,
}

/// See [`Overload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Requests of this session.
    Session,
    /// Requests that wait for the node.
    Waiting,
    /// Requests that the node works on.
    Open,
    /// Bytes of requests that the node works on.
    Bytes,
    /// It waited for so long that nobody waits for it any more.
    Age(Duration),
    /// Answers that this client, or others, have not read.
    Untaken,
}

/// What sessions of a node have not taken, all together.
#[derive(Debug, Default)]
pub(crate) struct Untaken(AtomicUsize);

/// Answers on their way to one session, each with the client's name for the request.
#[derive(Debug)]
pub(crate) struct Answers {
    queue: Arc<Queue<(u64, Answer)>>,
    untaken: Arc<Untaken>,
    /// Requests that are not answered.
    open: AtomicUsize,
    /// Told whenever one is.
    answered: Notify,
}

/// The end of them that a session's stream takes them from.
#[derive(Debug)]
pub(crate) struct Taker {
    reader: Reader<(u64, Answer)>,
    untaken: Arc<Untaken>,
}

/// Where one request's answer goes.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// To a session's stream.
    Session(u64, Arc<Answers>),
    /// To a call that waits.
    Call(oneshot::Sender<Answer>),
}

impl Answers {
    pub(crate) fn new(untaken: &Arc<Untaken>) -> Self {
        Self {
            queue: Arc::new(Queue::new(usize::MAX)),
            untaken: Arc::clone(untaken),
            open: AtomicUsize::new(0),
            answered: Notify::new(),
        }
    }

    pub(crate) fn taker(&self) -> Taker {
        Taker { reader: self.queue.reader(), untaken: Arc::clone(&self.untaken) }
    }

    /// Another request is open, unless there are `most`.
    pub(crate) fn open(&self, most: usize) -> bool {
        let more = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Returns when all that was asked is answered.
    pub(crate) async fn all_answered(&self) {
        loop {
            let answered = self.answered.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            answered.await;
        }
    }

    /// Answers a request that is not open.
    pub(crate) fn refuse(&self, id: u64, answer: Answer) {
        self.push(id, answer);
    }

    /// Answers one that is.
    fn answer(&self, id: u64, answer: Answer) {
        self.push(id, answer);
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.answered.notify_waiters();
    }

    /// What a client does not take, and has no room for, it is told instead: a get changes nothing.
    fn push(&self, id: u64, answer: Answer) {
        let mut answer = answer;
        let mut weight = answer.weight();
        let waits = self.queue.weight();
        let is_too_much = waits > 0
            && (waits + weight > SESSION_BYTES || self.untaken.bytes() + weight > ALL_BYTES);
        if weight > SMALL && is_too_much {
            let after = Duration::from_millis(100);
            answer = Answer::Overloaded(Overload { what: Excess::Untaken, after });
            weight = answer.weight();
        }
        self.untaken.0.fetch_add(weight, Ordering::Relaxed);
        if self.queue.push((id, answer), weight) > 0 {
            // The session is gone.
            self.untaken.0.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    /// Takes nothing more. What waits can still be taken.
    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.untaken.0.fetch_sub(self.queue.weight(), Ordering::Relaxed);
    }
}

impl Untaken {
    /// How many bytes they are.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Taker {
    /// Takes the oldest answers, at least one and not much more than `most` bytes; `None` when there will be
    /// no more.
    pub(crate) fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Vec<(u64, Answer)>>> {
        self.reader.poll_take(context, most).map(|taken| {
            let taken = taken?;
            let weight = taken.iter().map(|(_, answer)| answer.weight()).sum();
            self.untaken.0.fetch_sub(weight, Ordering::Relaxed);
            Some(taken)
        })
    }
}

impl ReplyTo {
    /// Answers. Nobody need listen any more.
    pub(crate) fn answer(self, answer: Answer) {
        match self {
            Self::Session(id, answers) => answers.answer(id, answer),
            Self::Call(caller) => drop(caller.send(answer)),
        }
    }
}

impl Answer {
    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        const FIXED: usize = 32;
        match self {
            Self::Reply(Reply::Got { values, context }) => {
                let values = values.iter().map(|value| value.len() + 8).sum::<usize>();
                FIXED + values + context.0.actors() * 24
            }
            Self::Reply(_) | Self::Overloaded(_) | Self::Stopping => FIXED,
            Self::Malformed(why) => FIXED + why.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dynamo_protocol::Context as Version;

    use super::*;

    fn got(bytes: usize) -> Answer {
        let values = vec![Bytes::from(vec![0; bytes])];
        Answer::Reply(Reply::Got { values, context: Version::default() })
    }

    fn taken(taker: &mut Taker) -> Vec<(u64, Answer)> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match taker.poll_take(&mut context, usize::MAX) {
            Poll::Ready(Some(taken)) => taken,
            Poll::Ready(None) | Poll::Pending => Vec::new(),
        }
    }

    #[test]
    fn what_a_session_does_not_take_is_bounded_and_what_puts_are_answered_is_kept() {
        let untaken = Arc::default();
        let answers = Answers::new(&untaken);
        let mut taker = answers.taker();
        for id in 0..100 {
            answers.refuse(id, got(1 << 20));
            answers.refuse(1000 + id, Answer::Reply(Reply::Done { context: None }));
        }
        assert!(untaken.bytes() <= SESSION_BYTES + 100 * SMALL, "{}", untaken.bytes());
        let taken = taken(&mut taker);
        let is_done =
            |(_, answer): &&(u64, Answer)| matches!(answer, Answer::Reply(Reply::Done { .. }));
        assert_eq!(taken.iter().filter(is_done).count(), 100);
        let untold = |(_, answer): &&(u64, Answer)| matches!(answer, Answer::Overloaded(_));
        let values = SESSION_BYTES >> 20;
        assert!((100 - values..=101 - values).contains(&taken.iter().filter(untold).count()));
        assert_eq!(untaken.bytes(), 0);
    }

    #[test]
    fn sessions_together_hold_no_more_than_a_node_has_room_for_but_one_answer_each() {
        let untaken = Arc::default();
        let sessions: Vec<_> = (0..20).map(|_| Answers::new(&untaken)).collect();
        let takers: Vec<_> = sessions.iter().map(Answers::taker).collect();
        for answers in sessions.iter().flat_map(|answers| [answers; 20]) {
            answers.refuse(0, got(1 << 20));
        }
        assert!(untaken.bytes() <= ALL_BYTES + (sessions.len() << 21), "{}", untaken.bytes());
        drop(takers);
        drop(sessions);
        assert_eq!(untaken.bytes(), 0, "what nobody takes is gone with its session");
    }

    #[tokio::test]
    async fn a_session_has_so_many_open_requests_and_waits_for_their_answers() {
        let untaken = Arc::default();
        let answers = Arc::new(Answers::new(&untaken));
        assert!(answers.open(2) && answers.open(2) && !answers.open(2));
        let waiting = tokio::spawn({
            let answers = Arc::clone(&answers);
            async move { answers.all_answered().await }
        });
        for id in 0..2 {
            ReplyTo::Session(id, Arc::clone(&answers)).answer(Answer::Stopping);
        }
        waiting.await.unwrap();
        assert!(answers.open(1));
    }
}
