//! Documents with known places.

use serde::Deserialize;

use super::each::{MAX_PROBLEMS, read_each};
use super::node::MAX_NODES;
use super::read::read;
use super::{Node, Value};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Outer {
    number: u32,
    ratio: f64,
    on: bool,
    text: String,
    list: Vec<String>,
    inner: Inner,
    perhaps: Option<u8>,
    kind: Kind,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    depth: i8,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plain,
    Other,
}

impl Default for Outer {
    fn default() -> Self {
        Self {
            number: 1,
            ratio: 0.5,
            on: false,
            text: String::new(),
            list: Vec::new(),
            inner: Inner::default(),
            perhaps: None,
            kind: Kind::Plain,
        }
    }
}

fn outer(text: &str) -> Result<Outer, String> {
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let (node, problems) = Node::parse(text, &environment);
    match problems.first() {
        Some(problem) => Err(problem.to_string()),
        None => read(&node).map_err(|problem| problem.to_string()),
    }
}

#[test]
fn values_of_every_kind() {
    let expected = Outer {
        number: 7,
        ratio: 1.5,
        on: true,
        text: "10: no # hash".to_owned(),
        list: vec!["a".to_owned(), "2".to_owned()],
        inner: Inner { depth: -3 },
        perhaps: Some(4),
        kind: Kind::Other,
    };
    let text = "# a comment\nnumber: 7\nratio: 1.5\non: true\ntext: '10: no # hash'\nlist: [a, 2]\ninner:\n  depth: -3\n\
                perhaps: 4\nkind: other\n";
    assert_eq!(outer(text).unwrap(), expected);
}

#[test]
fn what_is_empty_is_the_default() {
    for text in [
        "",
        "# nothing\n",
        "inner:\n",
        "list:\n",
        "perhaps: ~\n",
        "inner: {}\nlist: []\n",
        "---\n",
    ] {
        assert_eq!(outer(text).unwrap(), Outer::default(), "{text:?}");
    }
}

#[test]
fn what_the_environment_says_is_read_as_if_it_stood_there() {
    let environment = |name: &str| (name == "N").then(|| "12".to_owned());
    let node = Node::parse("number: ${env:N}\ntext: 'a: ${env:N}'\n", &environment).0;
    let outer: Outer = read(&node).unwrap();
    assert_eq!((outer.number, outer.text.as_str()), (12, "a: 12"));
}

#[test]
fn problems_have_their_place() {
    for (text, expected) in [
        (
            "number: x",
            "line 1, column 9: number: `x` is not a whole number",
        ),
        (
            "number: -1",
            "line 1, column 9: number: `-1` is not a whole number, not negative",
        ),
        ("number: 99999999999", "line 1, column 9: number:"),
        (
            "on: yes",
            "line 1, column 5: on: `yes` is neither true nor false",
        ),
        (
            "inner:\n  depht: 1",
            "line 2, column 3: inner: there is no key `depht`; did you mean `depth`?",
        ),
        (
            "inner:\n  depth: [1]",
            "line 2, column 10: inner.depth: a list is written here",
        ),
        (
            "inner: 7",
            "line 1, column 8: inner: keys with values are expected",
        ),
        ("list: a", "line 1, column 7: list: a list is expected"),
        (
            "list: [a, {b: c}]",
            "line 1, column 11: list.2: a map is written here",
        ),
        ("text:", "line 1, column 1: text: nothing is written here"),
        (
            "kind: othr",
            "line 1, column 7: kind: there is no `othr`; did you mean `other`?",
        ),
        (
            "number: 1\nnumber: 2",
            "line 2, column 1: `number` is there already, in line 1",
        ),
        ("text: &a x", "anchors"),
        ("text: *a", "line 1"),
        ("text: !x y", "tags"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("text: \"open", "line 1"),
        ("? [a]\n: b", "a key is a text"),
        (
            "text: ${env:NONE}",
            "line 1, column 7: the environment variable NONE is not set",
        ),
    ] {
        let problem = outer(text).unwrap_err();
        assert!(problem.contains(expected), "{text:?}: {problem}");
    }
}

#[test]
fn what_the_environment_says_is_never_shown() {
    for text in [
        "number: ${env:SECRET}",
        "on: ${env:SECRET}",
        "kind: ${env:SECRET}",
        "list: [a, {b: 1}, \"${env:SECRET}\"]",
    ] {
        let problem = outer(text).unwrap_err();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

/// All that is said of a text, and what was read without it.
fn each(text: &str) -> (Vec<String>, Option<Outer>) {
    let (mut node, mut problems) = Node::parse(text, &|_| None);
    let value = read_each(&mut node, &mut problems);
    (problems.iter().map(ToString::to_string).collect(), value)
}

#[test]
fn everything_that_is_wrong_is_found_in_one_pass() {
    let text = "number: x\nratio: ${env:NONE}\non: true\nlist: [[1], b, {c: d}, e]\ninner:\n  depht: 1\n  depth: 2\n\
                on: false\ncolour: red\nkind: &a other\ntext: fine\n";
    let (problems, value) = each(text);
    let expected = [
        "line 2, column 8: the environment variable NONE",
        "line 8, column 1: `on` is there already, in line 3",
        "line 10, column 10: anchors",
        "line 1, column 9: number: `x`",
        "line 4, column 8: list.1: a list",
        "line 4, column 16: list.3: a map",
        "line 6, column 3: inner: there is no key `depht`",
        "line 9, column 1: there is no key `colour`",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    // What is right was read.
    let read = value.unwrap();
    assert_eq!((read.number, read.ratio, read.on), (1, 0.5, true));
    assert_eq!(read.list, ["b", "e"]);
    assert_eq!((read.inner.depth, read.text.as_str()), (2, "fine"));
}

#[test]
fn a_broken_section_hides_no_mistake_in_the_others() {
    for broken in [
        "list: [a",
        "text: \"open",
        "inner:\n\tdepth: 1",
        "inner:\n  depth: 1\n on: true",
        "text: *a b: c",
    ] {
        let text = format!("number: x\n{broken}\non: maybe\nratio: 2.5\n");
        let (problems, value) = each(&text);
        let lines = 1 + broken.lines().count();
        let of = |start: &str| problems.iter().any(|problem| problem.starts_with(start));
        assert!(of("line 1, column 9: number"), "{broken}: {problems:#?}");
        let on = format!("line {}, column 5: on: `maybe`", lines + 1);
        assert!(of(&on), "{broken}: {problems:#?}");
        assert_eq!(problems.len(), 3, "{broken}: {problems:#?}");
        assert_eq!(value.unwrap().ratio, 2.5);
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let deep = format!("list: {}{}", "[".repeat(40), "]".repeat(40));
    assert!(outer(&deep).unwrap_err().contains("too deep"));
    let many = format!("list: [{}]", "a,".repeat(30_000));
    assert!(outer(&many).unwrap_err().contains("too many"));
}

#[test]
fn what_is_read_of_a_broken_document_is_bounded_over_all_its_parts() {
    let keys: String = (0..3 * MAX_NODES)
        .map(|number| format!("k{number}:\n"))
        .collect();
    let (node, problems) = Node::parse(&format!("list: [a\n{keys}"), &|_| None);
    let Value::Map(entries) = node.value else {
        panic!("{:?}", node.value);
    };
    assert!(
        (MAX_NODES / 4..=MAX_NODES).contains(&entries.len()),
        "{}",
        entries.len()
    );
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("line 1, column 7: "), "{said:?}");
    assert!(said[1].contains("the file has too many values"), "{said:?}");
    // The same where everything is broken.
    let (_, problems) = Node::parse(&"a: *b c: d\n".repeat(3 * MAX_PROBLEMS), &|_| None);
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
}

#[test]
fn a_key_that_is_repeated_in_a_broken_document_is_found() {
    let (problems, value) = each("on: true\nlist: [a\non: false\nratio: 2.5\n");
    let repeated = "line 3, column 1: `on` is there already, in line 1";
    assert!(
        problems.iter().any(|problem| problem.starts_with(repeated)),
        "{problems:?}"
    );
    let value = value.unwrap();
    assert_eq!((value.on, value.ratio), (true, 2.5));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-a-z0-9:{}\\[\\]#&*!|>'\"%@`$ \n\t,?~]{0,120}") {
        let _ = outer(&text);
        let _ = each(&text);
    }
}
