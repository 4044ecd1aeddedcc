//! What nodes run on: processes and their disks, links between them, machines that are reached by SSH or made
//! here, and what of faults each of them can do.

pub mod agent;
pub(crate) mod certificates;
pub mod disk;
pub mod doctor;
pub(crate) mod image;
pub mod lab;
pub mod process;
pub mod proxy;
pub mod remote;
