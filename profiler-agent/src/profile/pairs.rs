//! Lists of pairs in environment variables, of the agent and of the processes that it samples.

/// `key=value,key=value` with percent-encoded keys and values, as in W3C Baggage without properties.
///
/// # Errors
/// What is wrong with the first malformed entry.
pub fn pairs(list: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |pair: &str| {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| "an entry has no `=`".to_owned())?;
        let key = percent_decoded(key.trim())?;
        if key.is_empty() {
            return Err("an entry has no key".to_owned());
        }
        let value =
            percent_decoded(value.trim()).map_err(|fix| format!("the value of {key}: {fix}"))?;
        Ok((key, value))
    };
    list.split(',')
        .filter(|entry| !entry.trim().is_empty())
        .map(pair)
        .collect()
}

/// The text that a percent-encoded one stands for.
///
/// # Errors
/// What is malformed.
pub fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| {
            let high = char::from(digits[0]).to_digit(16)?;
            let low = char::from(digits[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        });
        bytes.push(digits.ok_or("a `%` without two hexadecimal digits (write %25)")?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "it does not decode to UTF-8".to_owned())
}
