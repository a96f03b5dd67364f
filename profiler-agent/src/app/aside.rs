//! Work that may hang, beside the runtime's thread.

use std::io;
use std::thread::Builder;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Does `work`, which may hang, on a thread of its own within the runtime.
pub(super) fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let runtime = Handle::current();
    let (done, result) = oneshot::channel();
    Builder::new().name(name.to_owned()).spawn(move || {
        let _entered = runtime.enter();
        // Who waited may have given up.
        let _ = done.send(work());
    })?;
    Ok(result)
}
