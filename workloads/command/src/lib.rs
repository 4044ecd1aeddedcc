//! What all subcommands of `dyno` have in common, so that one word means one thing in all of them: lengths
//! of time, sizes, numbers of threads, exit statuses, what is said on standard output and standard error,
//! and the head of every JSON document. Knows nothing of Dynamo.

pub mod exit;
mod jobs;
mod json;
mod line;
pub mod output;
mod refusal;
mod size;
mod span;
mod text;
mod word;

pub use jobs::Jobs;
pub use json::document;
pub use line::one_line;
pub use refusal::{help_or_refusal, in_one_line};
pub use size::Size;
pub use span::{Span, span_within};
pub use text::read_text;
pub use word::word;

/// A parser for clap of a number that is not below `least` nor above `most`: the error says both.
pub fn within<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Clone + Send + Sync,
{
    move |text: &str| match text.parse::<T>() {
        Ok(number) if least <= number && number <= most => Ok(number),
        _ => Err(format!("a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_number_out_of_its_range_is_told_the_range() {
        let parse = within(1_u16, 25);
        assert_eq!(parse("25"), Ok(25));
        for wrong in ["0", "26", "-1", "99999999999999999999", "x", "", "1.5"] {
            assert_eq!(parse(wrong), Err("a number from 1 to 25".to_owned()), "{wrong}");
        }
        assert!(within(0.0, 1.0)("NaN").is_err());
    }
}
