//! Where a plan's settings were written: in which line of a file, or by which flag.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::toml_error::{self, place};
use super::{Plan, PlanError};

/// What cannot be run, and the settings that say it, by their names in plans: `cluster.w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The settings: the first of them that somebody wrote is the one to mend.
    pub settings: &'static [&'static str],
    /// Why, and the mend, in a line.
    pub why: String,
}

/// Where a plan comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file's name and text.
    file: Option<(String, String)>,
    /// Settings that flags override, and the flags.
    flags: Vec<(&'static str, &'static str)>,
}

impl Source {
    /// Reads a plan, and remembers where its settings are.
    ///
    /// # Errors
    /// If the file cannot be read, or says something a plan cannot say.
    pub fn read(path: &Path) -> Result<(Plan, Self), PlanError> {
        let origin = path.display().to_string();
        let what = "a plan is a TOML file: see `dyno test --help`";
        let text = dyno_command::read_text(path, what).map_err(PlanError)?;
        let mut plan = Plan::parse(&text, &origin)?;
        if plan.name.is_empty() {
            plan.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        Ok((plan, Self { file: Some((origin, text)), flags: Vec::new() }))
    }

    /// A plan's text, under the name that errors give it.
    #[must_use]
    pub fn of(origin: &str, text: &str) -> Self {
        Self { file: Some((origin.to_owned(), text.to_owned())), flags: Vec::new() }
    }

    /// A flag overrides a setting.
    pub fn overridden(&mut self, setting: &'static str, flag: &'static str) {
        self.flags.push((setting, flag));
    }

    /// Refuses a plan that cannot be run, at the place where it says so.
    ///
    /// # Errors
    /// One line: the flag, or the file with line and column, then why, with the mend.
    pub fn check(&self, plan: &Plan) -> Result<(), PlanError> {
        plan.examine().map_err(|wrong| {
            let place = wrong.settings.iter().find_map(|setting| self.place(setting));
            PlanError(match place {
                Some(place) => format!("{place}: {}", wrong.why),
                None => wrong.why,
            })
        })
    }

    fn place(&self, setting: &str) -> Option<String> {
        if let Some((_, flag)) = self.flags.iter().find(|(overridden, _)| *overridden == setting) {
            return Some((*flag).to_owned());
        }
        let (origin, text) = self.file.as_ref()?;
        let (line, column) = place(text, offset(text, setting)?);
        Some(format!("{origin}:{line}:{column}"))
    }
}

/// Where the value of a setting begins.
fn offset(text: &str, setting: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (mut names, mut value) = (setting.split('.'), None);
    let mut inner = table.get_ref();
    for name in names.by_ref() {
        let found: &Spanned<DeValue<'_>> = inner.get(name)?;
        value = Some(found.span().start);
        match found.get_ref() {
            DeValue::Table(table) => inner = table,
            _ => break,
        }
    }
    // A name is left where a value stands in place of a table: that is another error.
    names.next().is_none().then_some(value)?
}

impl PlanError {
    pub(crate) fn of_toml(error: &toml::de::Error, text: &str, origin: &str) -> Self {
        toml_error::describe(error, text, origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, flags: &[(&'static str, &'static str)]) -> String {
        let mut source = Source::of("plan.toml", &format!("name = \"t\"\n{text}"));
        flags.iter().for_each(|(setting, flag)| source.overridden(setting, flag));
        let plan = Plan::parse(&format!("name = \"t\"\n{text}"), "plan.toml").unwrap();
        source.check(&plan).unwrap_err().0
    }

    #[test]
    fn a_value_that_cannot_be_is_named_with_its_place() {
        let text = "[workload]\n# many\ncarts = 4000000000\n";
        assert_eq!(told(text, &[]), "plan.toml:4:9: workload.carts 4000000000: from 1 to 10000");
        let inline = "cluster = { n = 3, w = 4 }\n";
        assert!(told(inline, &[]).starts_with("plan.toml:2:24: cluster.w = 4"), "{inline}");
    }

    #[test]
    fn of_two_settings_the_one_that_was_written_is_to_blame() {
        let told = told("[cluster]\nhedge = \"5s\"\n", &[]);
        assert!(told.starts_with("plan.toml:3:9: cluster.hedge = 5s: must be below"), "{told}");
    }

    #[test]
    fn what_a_flag_says_is_not_blamed_on_the_file() {
        let told = told("[cluster]\nnodes = 5\nw = 4\n", &[("cluster.w", "-w")]);
        assert!(told.starts_with("-w: cluster.w = 4"), "{told}");
    }
}
