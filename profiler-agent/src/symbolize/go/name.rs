//! Names as the runtime prints them.

/// The name with `[...]` in the place of its type arguments; `None` when it has none.
pub(super) fn for_print(name: &str) -> Option<String> {
    let (before, rest) = name.split_once('[')?;
    let (_, after) = rest.rsplit_once(']')?;
    Some(format!("{before}[...]{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_arguments_are_left_out() {
        let printed = |name| for_print(name).unwrap_or_default();
        assert_eq!(printed("main.Map[go.shape.int]"), "main.Map[...]");
        assert_eq!(
            printed("main.(*Tree[go.shape.[]uint8,main.Pair[int]]).Insert.func1"),
            "main.(*Tree[...]).Insert.func1"
        );
        assert_eq!(for_print("main.main"), None);
        assert_eq!(for_print("main.a]b["), None);
        assert_eq!(for_print("main.a["), None);
    }
}
