//! Steps by hand: as they are, between two ends of one build.

use dynamo_protocol::{Digest, Output};

use super::Malformed;
use crate::proto;
use crate::stepped::{Step, Stepped};

/// The request for a step.
pub(crate) fn step_request(step: &Step) -> proto::StepRequest {
    proto::StepRequest { step: postcard::to_stdvec(step).expect("steps serialise").into() }
}

pub(crate) fn step(bytes: &[u8]) -> Result<Step, Malformed> {
    postcard::from_bytes(bytes).map_err(|_| Malformed::Step("the step"))
}

/// The answer to it.
pub(crate) fn step_report(stepped: &Stepped) -> proto::StepReport {
    let outputs = postcard::to_stdvec(&stepped.outputs).expect("outputs serialise").into();
    proto::StepReport { outputs, digest: stepped.digest.0 }
}

pub(crate) fn stepped(report: &proto::StepReport) -> Result<Stepped, Malformed> {
    let outputs: Vec<Output> =
        postcard::from_bytes(&report.outputs).map_err(|_| Malformed::Step("the outputs"))?;
    Ok(Stepped { outputs, digest: Digest(report.digest) })
}
