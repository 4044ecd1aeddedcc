//! The order that was tried of a witness, as reports have it.

use checker::verdict::CheckReport;
use serde_json::Value;

use super::Order;

/// The order in a report, if it has one.
pub(super) fn of(report: &CheckReport) -> Option<Order> {
    let order = report.details.get("order")?;
    let explained = order.get("explained")?.as_array()?.iter().filter_map(Value::as_u64).collect();
    Some(Order { explained, stuck: order.get("stuck")?.as_u64()? })
}
