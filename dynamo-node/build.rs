//! Compiles `proto/dynamo.proto` in-process: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/dynamo.proto");
    let files = protox::compile(["dynamo.proto"], ["proto"])?;
    let mut messages = tonic_prost_build::configure().bytes(".");
    // What `status --json` prints.
    for report in ["StatusReport", "Counters"] {
        messages =
            messages.type_attribute(format!("dynamo.v1.{report}"), "#[derive(serde::Serialize)]");
    }
    messages.compile_fds(files)?;
    Ok(())
}
