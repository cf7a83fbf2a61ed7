//! Errors of libraries, told whole.

/// An error and what caused it, in one line and without saying anything twice.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::machine::causes::causes;

    #[test]
    fn causes_are_told_once() {
        let error = std::io::Error::other(std::io::Error::other("disk on fire"));
        assert_eq!(causes(&error), "disk on fire");
    }
}
