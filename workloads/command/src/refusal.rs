//! What clap says of a command line, in one line and with our exit status.

use clap::error::ErrorKind;

use crate::exit::{REFUSED, VALID};
use crate::output;

/// Prints help, or why the command line is refused; what to exit with. To clap help is an error too, and
/// its own status for the others is 2, which here means "unknown".
#[must_use]
pub fn help_or_refusal(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            if let Err(error) = error.print() {
                output::failed(&error);
            }
            output::status(VALID)
        }
        // Nothing was asked for: the help says what can be.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // If nobody can read it there is nobody to tell.
            let _ = error.print();
            REFUSED
        }
        _ => {
            output::refuse(in_one_line(error));
            REFUSED
        }
    }
}

/// What clap says in paragraphs, without the usage.
#[must_use]
pub fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.lines().take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.starts_with("For more information"));
    let said: Vec<_> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = said.join(" ");
    format!("{}; see --help", said.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[arg(long)]
        nodes: u16,
    }

    fn refused(words: &[&str]) -> String {
        in_one_line(&Line::try_parse_from(words).expect_err("it is refused"))
    }

    #[test]
    fn a_refusal_is_one_line_with_its_mend() {
        assert_eq!(
            refused(&["dyno", "--nodes", "x"]),
            "invalid value 'x' for '--nodes <NODES>': invalid digit found in string; see --help"
        );
        let misspelt = refused(&["dyno", "--nods", "3"]);
        assert!(misspelt.contains("'--nods'") && misspelt.contains("'--nodes'"), "{misspelt}");
        let missing = refused(&["dyno"]);
        assert!(missing.contains("--nodes <NODES>") && !missing.contains('\n'), "{missing}");
    }
}
