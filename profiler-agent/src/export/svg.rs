//! An interactive flame graph in one SVG file.

use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{Options, from_lines};

use super::collapsed;
use crate::profile::Profile;

/// The profile as a flame graph: root at the bottom, kernel functions coloured apart. Names are
/// escaped; characters that XML does not allow are replaced.
///
/// # Errors
/// Those of writing into memory.
pub fn encode(profile: &Profile) -> std::io::Result<Vec<u8>> {
    let mut options = Options::default();
    let samples = profile.sample_count();
    let measured = profile.value() as f64 / 1e9;
    let title = profile.kind.kind.title();
    let seconds = profile.end.since(profile.start).as_secs_f64();
    options.title = title[..1].to_uppercase() + &title[1..];
    options.subtitle = Some(format!(
        "{measured:.2} s of {title} in {seconds:.1} s: {samples} samples of {} processes",
        profile.processes.len()
    ));
    collapsed::unit(profile.kind).clone_into(&mut options.count_name);
    options.colors = Palette::Multi(MultiPalette::Java);
    // The same function has the same colour in every file.
    options.deterministic = true;
    let mut lines: Vec<String> = collapsed::stacks(profile, false)
        .into_iter()
        .map(|(stack, count)| format!("{stack} {count}"))
        .collect();
    if lines.is_empty() {
        // Without a stack there would be no picture at all.
        lines.push("[no samples] 1".to_owned());
    }
    let mut picture = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut picture)?;
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::encode;
    use crate::profile::Profile;
    use crate::profile::example::{HOSTILE, example};

    /// The titles that an independent XML parser finds in a picture.
    fn titles(profile: &Profile) -> String {
        let script = "import sys, xml.etree.ElementTree as tree\n\
            root = tree.fromstring(sys.stdin.buffer.read())\n\
            names = {element.tag.split('}')[1] for element in root.iter()}\n\
            print(sorted(names))\n\
            [print(e.text) for e in root.iter('{http://www.w3.org/2000/svg}title')]";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let picture = encode(profile).unwrap();
        python.stdin.take().unwrap().write_all(&picture).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn frames_have_their_share() {
        let titles = titles(&example());
        assert!(titles.contains("inner (4 samples, 50.00%)"), "{titles}");
        assert!(
            titles.contains("do_syscall_64 (1 samples, 12.50%)"),
            "{titles}"
        );
    }

    #[test]
    fn hostile_names_are_text() {
        let mut profile = example();
        let plain = titles(&profile);
        let elements = plain.lines().next();
        for (function, name) in profile.functions.iter_mut().zip(HOSTILE) {
            function.name = name.into();
        }
        let hostile = titles(&profile);
        assert_eq!(hostile.lines().next(), elements, "no name makes an element");
        assert!(
            hostile.contains("<script>alert(1)</script> (4 samples"),
            "{hostile}"
        );
    }

    #[test]
    fn an_empty_profile_has_a_picture() {
        let mut profile = example();
        profile.samples.clear();
        assert!(titles(&profile).contains("[no samples]"));
    }
}
