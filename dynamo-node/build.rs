//! Compiles `proto/dynamo.proto` in-process: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/dynamo.proto");
    let files = protox::compile(["dynamo.proto"], ["proto"])?;
    // What reflection tells, without the comments.
    let mut bare = protox::Compiler::new(["proto"])?;
    bare.include_imports(true).include_source_info(false).open_file("dynamo.proto")?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo says where files go")?;
    let out = std::path::Path::new(&out).join("dynamo.descriptors");
    std::fs::write(out, bare.encode_file_descriptor_set())?;
    let mut messages = tonic_prost_build::configure().bytes(".");
    // What `status --json` prints.
    for report in ["StatusReport", "Counters"] {
        messages =
            messages.type_attribute(format!("dynamo.v1.{report}"), "#[derive(serde::Serialize)]");
    }
    messages.compile_fds(files)?;
    Ok(())
}
