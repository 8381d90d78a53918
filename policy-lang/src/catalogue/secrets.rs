//! Keys, tokens and passwords.

use super::DetectorTier::{Context, OptIn, Validated};
use super::{Detector, entry, open_ended};

const S: &[&str] = &["secrets"];
const CLOUD: &[&str] = &["secrets", "cloud_keys"];
const MODEL: &[&str] = &["secrets", "model_keys"];
const CODE: &[&str] = &["secrets", "code_tokens"];
const SERVICE: &[&str] = &["secrets", "service_keys"];

const fn key(
    id: &'static str,
    label: &'static str,
    families: &'static [&'static str],
    [about, check, source]: [&'static str; 3],
) -> Detector {
    open_ended(entry(id, label, Validated, families, [about, check, source], &[]))
}

pub(super) const DETECTORS: &[Detector] = &[
    key(
        "private_key",
        "PRIVATE_KEY",
        S,
        [
            "private key: PEM, OpenSSH, PuTTY, age; from its first line to its last",
            "the BEGIN … PRIVATE KEY line, `PuTTY-User-Key-File`, or AGE-SECRET-KEY-1 with its length",
            "RFC 7468, RFC 4716, PuTTY appendix C, age specification",
        ],
    ),
    key(
        "jwt",
        "JWT",
        S,
        ["JSON web token, signed or encrypted", "the first part decodes to JSON that has `alg`", "RFC 7519, RFC 7516"],
    ),
    key(
        "aws_access_key",
        "AWS_ACCESS_KEY",
        CLOUD,
        [
            "AWS access key id",
            "AKIA, ASIA, ABIA, ACCA and 16 base-32 characters",
            "AWS IAM reference, unique identifiers",
        ],
    ),
    open_ended(entry(
        "aws_secret_key",
        "AWS_SECRET_KEY",
        Context,
        CLOUD,
        ["AWS secret access key", "40 base-64 characters of mixed kind", "AWS IAM user guide, access keys"],
        &[
            "aws_secret_access_key",
            "secret_access_key",
            "secretaccesskey",
            "aws_secret_key",
            "aws_secret",
            "aws secret",
            "secret access key",
        ],
    )),
    key(
        "gcp_api_key",
        "GCP_API_KEY",
        CLOUD,
        [
            "Google API key or OAuth access token",
            "AIza and 35 characters, or ya29. and at least 20",
            "Google Cloud documentation, API keys",
        ],
    ),
    key(
        "azure_storage_key",
        "AZURE_STORAGE_KEY",
        CLOUD,
        [
            "Azure storage, service-bus or Cosmos key in a connection string",
            "AccountKey= or SharedAccessKey= and a base-64 key of 32 or 64 bytes",
            "Azure storage documentation, connection strings",
        ],
    ),
    key(
        "openai_api_key",
        "OPENAI_API_KEY",
        MODEL,
        [
            "OpenAI API key",
            "sk-, sk-proj-, sk-svcacct-, sk-admin- and at least 40 characters",
            "OpenAI API reference, published secret-scanning patterns",
        ],
    ),
    key(
        "anthropic_api_key",
        "ANTHROPIC_API_KEY",
        MODEL,
        [
            "Anthropic API key",
            "sk-ant- and at least 32 characters",
            "Anthropic API reference, published secret-scanning patterns",
        ],
    ),
    key(
        "huggingface_token",
        "HUGGINGFACE_TOKEN",
        MODEL,
        [
            "Hugging Face access token",
            "hf_ or api_org_ and 34 letters",
            "Hugging Face hub documentation, security tokens",
        ],
    ),
    key(
        "groq_api_key",
        "GROQ_API_KEY",
        MODEL,
        ["Groq API key", "gsk_ and 52 letters and digits", "published secret-scanning patterns"],
    ),
    key(
        "replicate_api_token",
        "REPLICATE_API_TOKEN",
        MODEL,
        ["Replicate API token", "r8_ and 37 letters and digits", "published secret-scanning patterns"],
    ),
    key(
        "github_token",
        "GITHUB_TOKEN",
        CODE,
        [
            "GitHub token",
            "ghp_, gho_, ghu_, ghs_, ghr_ and at least 36 characters, or github_pat_ and at least 36",
            "GitHub engineering, authentication token formats (2021)",
        ],
    ),
    key(
        "gitlab_token",
        "GITLAB_TOKEN",
        CODE,
        [
            "GitLab token",
            "glpat-, gldt-, glrt-, glptt-, glcbt-, glsoat-, glft-, glimt-, glagent- and at least 20 characters; the cookie _gitlab_session",
            "GitLab documentation, token overview",
        ],
    ),
    key(
        "npm_token",
        "NPM_TOKEN",
        CODE,
        ["npm access token", "npm_ and 36 letters and digits", "npm documentation, access tokens"],
    ),
    key(
        "pypi_token",
        "PYPI_TOKEN",
        CODE,
        ["PyPI API token", "pypi- and a macaroon that names pypi.org", "PyPI help, API tokens; Warehouse"],
    ),
    key(
        "slack_token",
        "SLACK_TOKEN",
        SERVICE,
        [
            "Slack token",
            "xoxb-, xoxp-, xoxa-, xoxr-, xoxs-, xoxe-, xapp- and its groups",
            "Slack API documentation, token types",
        ],
    ),
    key(
        "slack_webhook",
        "SLACK_WEBHOOK",
        SERVICE,
        [
            "Slack webhook address",
            "hooks.slack.com/services, /workflows or /triggers and its path",
            "Slack API documentation, incoming webhooks",
        ],
    ),
    key(
        "stripe_key",
        "STRIPE_KEY",
        SERVICE,
        [
            "Stripe secret or restricted key, webhook secret",
            "sk_live_, sk_test_, rk_live_, rk_test_, whsec_ and at least 16 characters",
            "Stripe documentation, API keys",
        ],
    ),
    key(
        "twilio_key",
        "TWILIO_KEY",
        SERVICE,
        ["Twilio account or API key id", "AC or SK and 32 hexadecimal digits", "Twilio documentation, SIDs"],
    ),
    key(
        "sendgrid_key",
        "SENDGRID_KEY",
        SERVICE,
        ["SendGrid API key", "SG., 22 characters, a dot, 43 characters", "SendGrid documentation, API keys"],
    ),
    key(
        "mailgun_key",
        "MAILGUN_KEY",
        SERVICE,
        ["Mailgun API key", "key- and 32 hexadecimal digits", "Mailgun documentation, API keys"],
    ),
    key(
        "shopify_token",
        "SHOPIFY_TOKEN",
        SERVICE,
        [
            "Shopify access token",
            "shpat_, shpca_, shppa_, shpss_ and 32 hexadecimal digits",
            "Shopify documentation, access tokens",
        ],
    ),
    key(
        "telegram_bot_token",
        "TELEGRAM_BOT_TOKEN",
        SERVICE,
        [
            "Telegram bot token",
            "5 to 16 digits, a colon, A and 34 characters with a digit",
            "Telegram bot API, authorizing your bot",
        ],
    ),
    key(
        "digitalocean_token",
        "DIGITALOCEAN_TOKEN",
        CLOUD,
        ["DigitalOcean token", "dop_v1_, doo_v1_, dor_v1_ and 64 hexadecimal digits", "DigitalOcean API reference"],
    ),
    key(
        "databricks_token",
        "DATABRICKS_TOKEN",
        CLOUD,
        [
            "Databricks access token",
            "dapi and 32 hexadecimal digits",
            "Databricks documentation, personal access tokens",
        ],
    ),
    key(
        "vault_token",
        "VAULT_TOKEN",
        CLOUD,
        [
            "HashiCorp Vault token",
            "hvs., hvb., hvr. and at least 24 characters, or s. and 24 letters of both cases and digits",
            "Vault documentation, tokens",
        ],
    ),
    key(
        "url_credentials",
        "URL_CREDENTIALS",
        S,
        [
            "user and password in a URL or connection string; the scheme and the host stay",
            "a scheme, ://, a user, a colon, a password, an @ and a host",
            "RFC 3986 §3.2.1",
        ],
    ),
    key(
        "http_authorization",
        "HTTP_AUTHORIZATION",
        S,
        [
            "credentials behind Authorization: Basic or Bearer; the scheme stays",
            "Basic with base-64 that holds a colon; Bearer with at least 16 characters of mixed kind",
            "RFC 7617, RFC 6750",
        ],
    ),
    open_ended(entry(
        "password",
        "PASSWORD",
        Validated,
        S,
        [
            "the value of an assignment to a password, a secret or a key; the name stays",
            "a name such as password, pwd, secret or api_key, then = or :, then a value of 4 to 128 characters that is no placeholder",
            "gitleaks and Presidio rules for assignments, rewritten",
        ],
        &[
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "secret",
            "api_key",
            "apikey",
            "access_token",
            "auth_token",
            "client_secret",
        ],
    )),
    open_ended(entry(
        "generic_secret",
        "GENERIC_SECRET",
        OptIn,
        &["entropy"],
        [
            "a random-looking word near a word such as key, token or secret",
            "16 to 256 characters with letters and digits, Shannon entropy at least 3.5 bits, or 3 with four digits and one case of letters",
            "C. E. Shannon, A Mathematical Theory of Communication; gitleaks generic-api-key, rewritten",
        ],
        &["key", "token", "secret", "credential", "credentials", "creds", "auth", "api", "access", "pass", "signature"],
    )),
];
