//! How files leave a guest: as base64 between marker lines on its console.
//!
//! ```text
//! @@ file NAME
//! base64, in lines
//! @@ end BYTES
//! @@ done
//! ```
//!
//! Whatever else is on the console (firmware, kernel, programs) is text around it. The kernel is told to print nothing
//! while files leave; a file whose length is not the one that the guest says is an error, never a part of a result.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

const FILE: &str = "@@ file ";
const END: &str = "@@ end ";
const DONE: &str = "@@ done";

/// What came out of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Files by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The console without them.
    pub console: String,
    /// Did the guest come to its end?
    pub is_done: bool,
}

/// Why a console is not to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbled {
    /// The file's name.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Output {
    /// Reads a console.
    ///
    /// # Errors
    ///
    /// When a file is not whole.
    pub fn parse(console: &str) -> Result<Self, Garbled> {
        let mut output = Self::default();
        let mut open: Option<(String, String)> = None;
        for line in console.lines() {
            let line = line.trim_end_matches('\r');
            match &mut open {
                None if line == DONE => output.is_done = true,
                None => match line.strip_prefix(FILE) {
                    Some(name) => open = Some((name.to_owned(), String::new())),
                    None => output.console += &format!("{line}\n"),
                },
                Some((name, text)) => match line.strip_prefix(END) {
                    Some(length) => {
                        let content = whole(text, length).map_err(|reason| Garbled {
                            file: name.clone(),
                            reason,
                        })?;
                        output.files.insert(name.clone(), content);
                        open = None;
                    }
                    None => text.push_str(line),
                },
            }
        }
        match open {
            Some((file, _)) => Err(Garbled {
                file,
                reason: "it does not end".to_owned(),
            }),
            None => Ok(output),
        }
    }

    /// A file as text; empty where there is none.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        let content = self.files.get(file).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(content).into_owned()
    }
}

fn whole(text: &str, length: &str) -> Result<Vec<u8>, String> {
    let content = BASE64
        .decode(text)
        .map_err(|_| "it is not base64".to_owned())?;
    if length.parse() == Ok(content.len()) {
        Ok(content)
    } else {
        Err(format!("{} bytes of {length} have come", content.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_the_console() {
        let console = "boot\r\n@@ file a\r\naGVs\r\nbG8=\r\n@@ end 5\r\nbetween\r\n@@ file b\r\n@@ end 0\r\n@@ done\r\n";
        let output = Output::parse(console).expect("it is whole");
        assert_eq!(output.text("a"), "hello");
        assert_eq!(output.files["b"], b"");
        assert_eq!(output.console, "boot\nbetween\n");
        assert!(output.is_done);
        assert_eq!(output.text("c"), "");
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        for (console, reason) in [
            ("@@ file a\naGVs\n@@ end 5\n", "3 bytes of 5 have come"),
            ("@@ file a\naGV\n@@ end 2\n", "it is not base64"),
            (
                "@@ file a\naG[ 1.0] oops\nVs\n@@ end 3\n",
                "it is not base64",
            ),
            ("@@ file a\naGVs\n", "it does not end"),
            (
                "@@ file a\naGVs\n@@ end many\n",
                "3 bytes of many have come",
            ),
        ] {
            let error = Output::parse(console).expect_err(reason);
            assert_eq!((error.file.as_str(), error.reason.as_str()), ("a", reason));
        }
    }

    #[test]
    fn a_guest_that_stops_is_not_done() {
        let output = Output::parse("boot\nKernel panic\n").expect("no file is open");
        assert!(!output.is_done);
    }
}
