//! The page and the agent's own endpoints while they are served.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::listen::{self, Router};
use crate::page::Page;

/// How long answers that were asked for before the end may still take.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// What is served. It ends when this is dropped.
pub(super) struct Serving {
    tasks: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Serving {
    /// Serves the page, and other paths on a listener of their own; within a runtime.
    pub(super) fn start(
        page: Page,
        listener: TcpListener,
        own: Option<(TcpListener, Router)>,
    ) -> Self {
        let (stopping, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let until = until_stopped(stopped.clone());
        tasks.spawn(async move {
            if let Err(error) = page.serve(listener, until).await {
                tracing::error!(%error, "the page is not served");
            }
        });
        if let Some((listener, routes)) = own {
            tasks.spawn(listen::serve(listener, routes, until_stopped(stopped)));
        }
        Self { tasks, stopping }
    }

    /// Takes no more requests, and ends.
    pub(super) async fn stop(mut self) {
        self.stopping.send_replace(true);
        let answered = async { while self.tasks.join_next().await.is_some() {} };
        // What is not answered by then is dropped.
        let _ = tokio::time::timeout(LAST_ANSWERS, answered).await;
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: stopped as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
