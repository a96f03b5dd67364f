//! The program that publishes thread contexts exports its variable, as profilers ask for.

fn main() {
    println!(
        "cargo:rustc-link-arg-bin=thread_context=-Wl,--export-dynamic-symbol=otel_thread_ctx_v1"
    );
}
