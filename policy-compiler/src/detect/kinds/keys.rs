//! Keys that a published prefix gives away.

use super::Finds;
use crate::detect::ids::Form;
use crate::detect::probe::Probe;
use crate::detect::set::{DetectorIndex, index_of};
use std::sync::LazyLock;

/// Bytes that are read of one key.
const KEY_MAX: usize = 256;

/// Characters that a key goes on with.
#[derive(Clone, Copy, Debug)]
enum Alphabet {
    /// `0-9a-fA-F`
    Hex,
    /// `A-Za-z0-9`
    Alnum,
    /// `A-Z2-7`
    Base32,
    /// `A-Za-z0-9_-`
    Url,
    /// `A-Za-z0-9_-.`
    Dotted,
    /// `A-Za-z0-9_-.=`
    Padded,
    /// `A-Za-z0-9/_-`
    Path,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Base32 => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Url => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
            Self::Dotted => Self::Url.has(byte) || byte == b'.',
            Self::Padded => Self::Dotted.has(byte) || byte == b'=',
            Self::Path => Self::Url.has(byte) || byte == b'/',
        }
    }
}

/// A prefix, and how many characters of which alphabet follow.
struct Key(&'static str, &'static str, Alphabet, usize, usize);

use Alphabet::{Alnum, Base32, Dotted, Hex, Padded, Path, Url};

/// So short that the key itself must show that it is one.
const SHORT_PREFIX: &str = "s.";
/// Different characters that a key has at least; a row of `X` or `1234` stands for one.
const DIFFERENT_MIN: usize = 6;

/// Most telling first: the first that fits names the key.
#[rustfmt::skip]
const KEYS: &[Key] = &[
    Key("aws_access_key", "AKIA", Base32, 16, 16),
    Key("aws_access_key", "ASIA", Base32, 16, 16),
    Key("aws_access_key", "ABIA", Base32, 16, 16),
    Key("aws_access_key", "ACCA", Base32, 16, 16),
    Key("aws_access_key", "A3T", Base32, 17, 17),
    Key("gcp_api_key", "AIza", Url, 35, 35),
    Key("gcp_api_key", "ya29.", Url, 20, KEY_MAX),
    Key("anthropic_api_key", "sk-ant-", Url, 32, KEY_MAX),
    Key("openai_api_key", "sk-proj-", Url, 40, KEY_MAX),
    Key("openai_api_key", "sk-svcacct-", Url, 40, KEY_MAX),
    Key("openai_api_key", "sk-admin-", Url, 40, KEY_MAX),
    Key("openai_api_key", "sk-None-", Url, 40, KEY_MAX),
    Key("openai_api_key", "sk-", Alnum, 40, KEY_MAX),
    Key("huggingface_token", "hf_", Alnum, 34, 40),
    Key("huggingface_token", "api_org_", Alnum, 34, 40),
    Key("groq_api_key", "gsk_", Alnum, 48, 60),
    Key("replicate_api_token", "r8_", Alnum, 37, 40),
    Key("github_token", "ghp_", Alnum, 36, KEY_MAX),
    Key("github_token", "gho_", Alnum, 36, KEY_MAX),
    Key("github_token", "ghu_", Alnum, 36, KEY_MAX),
    Key("github_token", "ghs_", Alnum, 36, KEY_MAX),
    Key("github_token", "ghr_", Alnum, 36, KEY_MAX),
    Key("github_token", "github_pat_", Url, 36, KEY_MAX),
    Key("gitlab_token", "glpat-", Dotted, 20, KEY_MAX),
    Key("gitlab_token", "gldt-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glrt-", Dotted, 20, KEY_MAX),
    Key("gitlab_token", "glrtr-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glptt-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glcbt-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glsoat-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glft-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glffct-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glimt-", Url, 20, KEY_MAX),
    Key("gitlab_token", "glagent-", Url, 20, KEY_MAX),
    Key("gitlab_token", "gloas-", Url, 20, KEY_MAX),
    Key("gitlab_token", "GR1348941", Url, 20, KEY_MAX),
    Key("gitlab_token", "gitlab_session=", Alnum, 32, 32),
    Key("npm_token", "npm_", Alnum, 36, 36),
    Key("pypi_token", "pypi-AgEIcHlwaS5vcmc", Url, 50, KEY_MAX),
    Key("pypi_token", "pypi-AgENdGVzdC5weXBpLm9yZw", Url, 50, KEY_MAX),
    Key("slack_token", "xoxb-", Url, 20, KEY_MAX),
    Key("slack_token", "xoxp-", Url, 20, KEY_MAX),
    Key("slack_token", "xoxa-", Url, 10, KEY_MAX),
    Key("slack_token", "xoxr-", Url, 10, KEY_MAX),
    Key("slack_token", "xoxs-", Url, 20, KEY_MAX),
    Key("slack_token", "xoxo-", Url, 20, KEY_MAX),
    Key("slack_token", "xoxe-", Url, 20, KEY_MAX),
    Key("slack_token", "xoxe.", Url, 20, KEY_MAX),
    Key("slack_token", "xapp-", Url, 20, KEY_MAX),
    Key("slack_webhook", "hooks.slack.com/services/", Path, 20, KEY_MAX),
    Key("slack_webhook", "hooks.slack.com/workflows/", Path, 20, KEY_MAX),
    Key("slack_webhook", "hooks.slack.com/triggers/", Path, 20, KEY_MAX),
    Key("stripe_key", "sk_live_", Alnum, 10, KEY_MAX),
    Key("stripe_key", "sk_test_", Alnum, 10, KEY_MAX),
    Key("stripe_key", "sk_prod_", Alnum, 10, KEY_MAX),
    Key("stripe_key", "rk_live_", Alnum, 10, KEY_MAX),
    Key("stripe_key", "rk_test_", Alnum, 10, KEY_MAX),
    Key("stripe_key", "rk_prod_", Alnum, 10, KEY_MAX),
    Key("stripe_key", "whsec_", Alnum, 24, KEY_MAX),
    Key("twilio_key", "AC", Hex, 32, 32),
    Key("twilio_key", "SK", Hex, 32, 32),
    Key("sendgrid_key", "SG.", Padded, 60, 70),
    Key("mailgun_key", "key-", Hex, 32, 32),
    Key("shopify_token", "shpat_", Hex, 32, 32),
    Key("shopify_token", "shpca_", Hex, 32, 32),
    Key("shopify_token", "shppa_", Hex, 32, 32),
    Key("shopify_token", "shpss_", Hex, 32, 32),
    Key("digitalocean_token", "dop_v1_", Hex, 64, 64),
    Key("digitalocean_token", "doo_v1_", Hex, 64, 64),
    Key("digitalocean_token", "dor_v1_", Hex, 64, 64),
    Key("databricks_token", "dapi", Hex, 32, 34),
    Key("vault_token", "hvs.", Url, 24, KEY_MAX),
    Key("vault_token", "hvb.", Url, 24, KEY_MAX),
    Key("vault_token", "hvr.", Url, 24, KEY_MAX),
    Key("vault_token", SHORT_PREFIX, Alnum, 24, 24),
    Key("private_key", "AGE-SECRET-KEY-1", Alnum, 58, 58),
];

/// The detectors that are keys with a prefix.
#[cfg(test)]
pub(in crate::detect) fn ids() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.0)
}

/// The keys by the first byte of their prefix.
static BY_FIRST: LazyLock<Vec<Vec<(DetectorIndex, &'static Key)>>> = LazyLock::new(|| {
    let mut lists = vec![Vec::new(); 128];
    for key in KEYS {
        let first = key.1.bytes().next().unwrap_or_default();
        if let (Some(list), Some(index)) = (lists.get_mut(usize::from(first)), index_of(key.0)) {
            list.push((index, key));
        }
    }
    lists
});

/// Digits that may be glued behind a key.
const GLUED_MAX: usize = 40;

/// Every key that begins here.
pub(super) fn keys(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    for &(detector, &Key(_, prefix, alphabet, least, most)) in
        BY_FIRST.get(usize::from(probe.at(start))).into_iter().flatten()
    {
        if !finds.wants(detector) {
            continue;
        }
        if !prefix.bytes().enumerate().all(|(offset, byte)| probe.at(start + offset) == byte) {
            continue;
        }
        let body = start + prefix.len();
        let mut end = probe.run(body, most, |byte| alphabet.has(byte));
        if least == most && !probe.ends(end) {
            // Digits glued behind a key of one length do not hide it.
            end = probe.run(end, GLUED_MAX, |byte| byte.is_ascii_digit());
        }
        let size = end - body;
        // A key of one length is longer where the class of characters does not change behind it.
        let whole = if least == most { probe.ends(end) } else { most == KEY_MAX || !alphabet.has(probe.at(end)) };
        if size >= least && whole && looks_random(prefix, probe.slice(body, end.min(body + 40))) {
            finds.add(detector, start, end, Form::Sure);
        }
    }
}

/// Random characters have digits or capitals among the first, and many different ones; words and what stands for a key do not.
fn looks_random(prefix: &str, text: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let (upper, digit) = (has(u8::is_ascii_uppercase), has(u8::is_ascii_digit));
    let mut different: Vec<u8> = text.to_vec();
    different.sort_unstable();
    different.dedup();
    // The characters of an age key are of one case, and checked by their number alone.
    let varied = different.len() >= DIFFERENT_MIN || prefix.starts_with("AGE-");
    varied && (if prefix == SHORT_PREFIX { upper && digit && has(u8::is_ascii_lowercase) } else { upper || digit })
}
