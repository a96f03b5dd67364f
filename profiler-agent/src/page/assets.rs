//! The page's files, built in.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

macro_rules! assets {
    ($($name:literal => $kind:literal,)*) => {
        fn find(name: &str) -> Option<(&'static str, &'static str)> {
            match name {
                $($name => Some(($kind, include_str!(concat!("assets/", $name)))),)*
                _ => None,
            }
        }
    };
}

assets! {
    "index.html" => "text/html; charset=utf-8",
    "style.css" => "text/css; charset=utf-8",
    "mark.svg" => "image/svg+xml",
    "main.js" => "text/javascript; charset=utf-8",
    "actions.js" => "text/javascript; charset=utf-8",
    "address.js" => "text/javascript; charset=utf-8",
    "api.js" => "text/javascript; charset=utf-8",
    "controls.js" => "text/javascript; charset=utf-8",
    "colour.js" => "text/javascript; charset=utf-8",
    "flame.js" => "text/javascript; charset=utf-8",
    "functions.js" => "text/javascript; charset=utf-8",
    "graph.js" => "text/javascript; charset=utf-8",
    "labels.js" => "text/javascript; charset=utf-8",
    "legend.js" => "text/javascript; charset=utf-8",
    "lines.js" => "text/javascript; charset=utf-8",
    "menu.js" => "text/javascript; charset=utf-8",
    "sandwich.js" => "text/javascript; charset=utf-8",
    "search.js" => "text/javascript; charset=utf-8",
    "services.js" => "text/javascript; charset=utf-8",
    "status.js" => "text/javascript; charset=utf-8",
    "timeline.js" => "text/javascript; charset=utf-8",
    "tip.js" => "text/javascript; charset=utf-8",
    "trace.js" => "text/javascript; charset=utf-8",
    "units.js" => "text/javascript; charset=utf-8",
    "verdict.js" => "text/javascript; charset=utf-8",
}

/// The file with this name.
pub(super) fn asset(name: &str) -> Response {
    match find(name) {
        Some((kind, content)) => (
            // The files change with the agent alone, but under the same names.
            [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
            ],
            content,
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
    }
}
