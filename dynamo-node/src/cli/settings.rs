//! A cluster's settings as flags. Test drivers hand them in whole: `--settings`.

use clap::Args;
use dynamo_protocol::{
    Partitioning, Quorum, ReadMode, Settings, SettingsError, Timing, Versioning,
};
use dyno_command::{Span, word};

/// How many answer, and which: what is given overrides what was set before.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct SettingFlags {
    /// N: homes of a key.
    #[arg(short, value_name = "COUNT")]
    pub n: Option<usize>,
    /// R: answers a get waits for.
    #[arg(short, value_name = "COUNT")]
    pub r: Option<usize>,
    /// W: durable copies a put waits for.
    #[arg(short, value_name = "COUNT")]
    pub w: Option<usize>,
    /// Whether fallbacks stand in for homes that are out of reach.
    #[arg(long, value_name = "MODE", value_parser = word::<Quorum>(Quorum::WORDS))]
    pub quorum: Option<Quorum>,
    /// How versions are told apart: paper and lww are known to lose some.
    #[arg(long, value_name = "MODE", value_parser = word::<Versioning>(Versioning::WORDS))]
    pub versioning: Option<Versioning>,
    /// Whether gets write back before they answer.
    #[arg(long, value_name = "MODE", value_parser = word::<ReadMode>(ReadMode::WORDS))]
    pub read: Option<ReadMode>,
    /// Whether homes compare what they hold, and bring each other up to date, without being asked.
    #[arg(long, value_name = "BOOL")]
    pub anti_entropy: Option<bool>,
    /// Into which ranges the ring is cut, and who holds them: tokens, tokens-over-equal:Q or equal:Q, with Q
    /// partitions (a power of two, by default 1024).
    #[arg(long, value_name = "STRATEGY")]
    pub partitioning: Option<Partitioning>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct TimingFlags {
    /// After this a silent replica is suspected of being down, and a fallback asked.
    #[arg(long, value_name = "TIME")]
    hedge: Option<Span>,
    /// After this a request is answered "timed out".
    #[arg(long, value_name = "TIME")]
    deadline: Option<Span>,
    /// Between two pings of a suspected peer.
    #[arg(long, value_name = "TIME")]
    ping: Option<Span>,
    /// Between two looks at the hints for one target.
    #[arg(long, value_name = "TIME")]
    handoff: Option<Span>,
    /// Between two exchanges with other homes, with anti-entropy.
    #[arg(long, value_name = "TIME")]
    exchange: Option<Span>,
}

impl SettingFlags {
    /// Puts what was given in the place of what is there.
    pub fn apply(&self, settings: &mut Settings) {
        let Self { n, r, w, quorum, versioning, read, anti_entropy, partitioning } = *self;
        settings.n = n.unwrap_or(settings.n);
        settings.r = r.unwrap_or(settings.r);
        settings.w = w.unwrap_or(settings.w);
        settings.quorum = quorum.unwrap_or(settings.quorum);
        settings.versioning = versioning.unwrap_or(settings.versioning);
        settings.read = read.unwrap_or(settings.read);
        settings.anti_entropy = anti_entropy.unwrap_or(settings.anti_entropy);
        settings.partitioning = partitioning.unwrap_or(settings.partitioning);
    }
}

impl TimingFlags {
    pub(super) fn apply(&self, timing: &mut Timing) {
        let Self { hedge, deadline, ping, handoff, exchange } = self;
        timing.hedge = hedge.map_or(timing.hedge, |span| span.0);
        timing.deadline = deadline.map_or(timing.deadline, |span| span.0);
        timing.ping = ping.map_or(timing.ping, |span| span.0);
        timing.handoff = handoff.map_or(timing.handoff, |span| span.0);
        timing.exchange = exchange.map_or(timing.exchange, |span| span.0);
    }
}

/// A parser for clap of settings as JSON, as test drivers hand them in.
pub(super) fn json(text: &str) -> Result<Settings, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The error with the flag that sets the field.
pub(super) fn by_flag(error: &SettingsError) -> String {
    let SettingsError { field, value, bound } = error;
    let dashes = if field.len() == 1 { "-" } else { "--" };
    match field.strip_prefix("limits.") {
        Some(_) => format!("--settings: {error}"),
        None => format!("{dashes}{} {value}: {bound}", field.trim_start_matches("timing.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_bounds_is_named_by_its_flag() {
        let mut settings = Settings::new([3, 2, 9]);
        assert_eq!(by_flag(&settings.check().unwrap_err()), "-w 9: from 1 to 3, which is n");
        settings = Settings::default();
        settings.timing.ping *= 10_000;
        assert_eq!(by_flag(&settings.check().unwrap_err()), "--ping 1000s: from 1ms to 600s");
        settings = Settings::default();
        settings.partitioning = Partitioning::Equal { partitions: 48 };
        assert_eq!(
            by_flag(&settings.check().unwrap_err()),
            "--partitioning equal:48: from 1 to 16384 partitions, a power of two"
        );
        settings = Settings::default();
        settings.limits.siblings = 0;
        let told = by_flag(&settings.check().unwrap_err());
        assert_eq!(told, "--settings: limits.siblings = 0: from 1 to 4294967295");
    }
}
