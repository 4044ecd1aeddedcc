//! The reflection service of gRPC: which services and messages there are, for tools such as `grpcurl`. It
//! tells what a node could be asked, and so operators alone.

use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use crate::proto::DESCRIPTORS;

/// The service.
pub(crate) fn service() -> ServerReflectionServer<impl ServerReflection> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("what was compiled with the node can be read")
}
