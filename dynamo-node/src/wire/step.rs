//! Steps by hand: inputs and outputs as they are, between two ends of one build.

use dynamo_protocol::{Input, Output};

use super::Malformed;
use crate::proto;
use crate::stepped::Stepped;

/// The request for a step.
pub(crate) fn step_request(now_us: u64, input: &Input) -> proto::StepRequest {
    let input = postcard::to_stdvec(input).expect("inputs serialise").into();
    proto::StepRequest { now_us, input }
}

pub(crate) fn input(bytes: &[u8]) -> Result<Input, Malformed> {
    postcard::from_bytes(bytes).map_err(|_| Malformed::Step("the input"))
}

/// The answer to it.
pub(crate) fn step_report(stepped: &Stepped) -> proto::StepReport {
    let outputs = postcard::to_stdvec(&stepped.outputs).expect("outputs serialise").into();
    let Stepped { node_digest, store_digest, .. } = *stepped;
    proto::StepReport { outputs, node_digest, store_digest }
}

pub(crate) fn stepped(report: &proto::StepReport) -> Result<Stepped, Malformed> {
    let outputs: Vec<Output> =
        postcard::from_bytes(&report.outputs).map_err(|_| Malformed::Step("the outputs"))?;
    let proto::StepReport { node_digest, store_digest, .. } = *report;
    Ok(Stepped { outputs, node_digest, store_digest })
}
