//! Operators who wait for what becomes of a change of the membership.

use dynamo_protocol::Epoch;
use dynamo_protocol::membership::Edit;
use tokio::sync::oneshot;

use crate::ring::Proposed;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Proposals(Vec<Waiting>);

struct Waiting {
    edit: Edit,
    expect: Option<Epoch>,
    asker: oneshot::Sender<Proposed>,
}

impl Proposals {
    /// `asker` waits. True if the change is to be proposed: nobody has asked for the same before. Whoever has
    /// given up waiting may so ask again.
    pub(crate) fn wait(
        &mut self,
        edit: Edit,
        expect: Option<Epoch>,
        asker: oneshot::Sender<Proposed>,
    ) -> bool {
        if let Some(open) = self.0.iter().find(|open| open.edit == edit && open.expect != expect) {
            let meant =
                open.expect.map_or("any epoch".to_owned(), |epoch| format!("epoch {epoch}"));
            let why =
                format!("to {edit} is proposed already, for {meant}: wait until that has ended");
            // Who has gone does not want to know.
            drop(asker.send(Proposed::Refused(why)));
            return false;
        }
        let is_open = self.0.iter().any(|open| open.edit == edit);
        self.0.push(Waiting { edit, expect, asker });
        !is_open
    }

    /// `asker` waits, whatever epoch others who asked for the same meant.
    pub(crate) fn wait_along(&mut self, edit: Edit, asker: oneshot::Sender<Proposed>) {
        let same = self.0.iter().find(|open| open.edit == edit);
        let expect = same.and_then(|open| open.expect);
        self.0.push(Waiting { edit, expect, asker });
    }

    /// It is known what becomes of `edit`.
    pub(crate) fn ended(&mut self, edit: &Edit, proposed: &Proposed) {
        let (ended, open) = std::mem::take(&mut self.0).into_iter().partition(|w| w.edit == *edit);
        self.0 = open;
        let ended: Vec<Waiting> = ended;
        // Who has gone asks again, or looks at the ring.
        ended.into_iter().for_each(|waiting| drop(waiting.asker.send(proposed.clone())));
    }

    /// What is being proposed.
    pub(crate) fn open(&self) -> Option<Edit> {
        self.0.first().map(|waiting| waiting.edit)
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::NodeId;

    use super::*;

    const LEAVE: Edit = Edit::Leave { node: NodeId(3) };
    const CANCEL: Edit = Edit::Cancel { node: NodeId(3) };

    #[test]
    fn who_asks_for_the_same_again_waits_along_and_all_are_answered() {
        let mut proposals = Proposals::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        let (other, mut third) = oneshot::channel();
        assert!(proposals.wait(LEAVE, None, one), "it is proposed");
        assert!(!proposals.wait(LEAVE, None, two), "it is being proposed");
        // Whether two can be proposed at a time the protocol says.
        assert!(proposals.wait(CANCEL, None, other));
        proposals.ended(&LEAVE, &Proposed::Decided(Epoch(2)));
        assert_eq!(first.try_recv(), Ok(Proposed::Decided(Epoch(2))));
        assert_eq!(second.try_recv(), Ok(Proposed::Decided(Epoch(2))));
        assert!(third.try_recv().is_err());
        assert_eq!(proposals.open(), Some(CANCEL));
    }

    #[test]
    fn who_does_without_a_vote_is_answered_with_those_who_wait_for_one() {
        let mut proposals = Proposals::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        assert!(proposals.wait(LEAVE, Some(Epoch(1)), one));
        proposals.wait_along(LEAVE, two);
        proposals.ended(&LEAVE, &Proposed::Decided(Epoch(2)));
        assert_eq!(first.try_recv(), Ok(Proposed::Decided(Epoch(2))));
        assert_eq!(second.try_recv(), Ok(Proposed::Decided(Epoch(2))));
    }

    #[test]
    fn the_same_for_another_epoch_is_refused_and_disturbs_nobody() {
        let mut proposals = Proposals::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        assert!(proposals.wait(LEAVE, Some(Epoch(1)), one));
        assert!(!proposals.wait(LEAVE, None, two));
        assert!(matches!(second.try_recv(), Ok(Proposed::Refused(_))));
        assert!(first.try_recv().is_err());
    }
}
