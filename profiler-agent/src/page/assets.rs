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
    "heat.js" => "text/javascript; charset=utf-8",
    "heading.js" => "text/javascript; charset=utf-8",
    "labels.js" => "text/javascript; charset=utf-8",
    "legend.js" => "text/javascript; charset=utf-8",
    "lines.js" => "text/javascript; charset=utf-8",
    "menu.js" => "text/javascript; charset=utf-8",
    "message.js" => "text/javascript; charset=utf-8",
    "sandwich.js" => "text/javascript; charset=utf-8",
    "search.js" => "text/javascript; charset=utf-8",
    "selected.js" => "text/javascript; charset=utf-8",
    "services.js" => "text/javascript; charset=utf-8",
    "status.js" => "text/javascript; charset=utf-8",
    "timeline.js" => "text/javascript; charset=utf-8",
    "tip.js" => "text/javascript; charset=utf-8",
    "trace.js" => "text/javascript; charset=utf-8",
    "units.js" => "text/javascript; charset=utf-8",
    "verdict.js" => "text/javascript; charset=utf-8",
    "zoom.js" => "text/javascript; charset=utf-8",
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::find;

    #[test]
    fn every_file_is_built_in_and_every_script_is_loaded_with_the_page() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/assets");
        let (_, page) = find("index.html").unwrap();
        let mut scripts = 0;
        for file in std::fs::read_dir(directory).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let (_, content) = find(&name).unwrap_or_else(|| panic!("{name} is not built in"));
            assert!(content.lines().count() <= 400, "{name}: look twice");
            if name.ends_with(".js") && name != "main.js" {
                scripts += 1;
                let preload = format!("<link rel=\"modulepreload\" href=\"/assets/{name}\">");
                assert!(page.contains(&preload), "{name} waits for its importer");
            }
        }
        assert_eq!(page.matches("modulepreload").count(), scripts);
    }

    #[test]
    fn no_script_makes_markup_or_code_of_a_text_or_asks_elsewhere() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/assets");
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for wrong in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "eval(",
                "new Function(",
                "srcdoc",
                "localStorage",
            ] {
                assert!(!text.contains(wrong), "{}: {wrong}", path.display());
            }
            // The name of SVG's elements is no address that is asked.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for address in ["http://", "https://", "url(//", "src=\"//", "href=\"//"] {
                assert!(!text.contains(address), "{}: {address}", path.display());
            }
        }
    }
}
