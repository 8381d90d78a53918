//! The keys of the file that say who may call and who may operate.

use super::file::At;
use super::table::table;
use serde::Deserialize;
use std::collections::BTreeMap;

table! {
    /// An issuer of tokens. Read at start-up only.
    IssuerFile = "[[issuer]]" {
        /// Exactly the `iss` of its tokens.
        url: At<String> = "URL", "required";
        /// A token's `aud` must name one of these.
        audience: At<Vec<String>> = "list of texts", "required";
        /// What its tokens may be signed with; also RS384, RS512, PS384, PS512, ES512.
        algorithms: Option<Vec<At<String>>> = "list of words", "RS256, PS256, ES256, ES384, EdDSA";
        /// Accepted `typ`.
        types: Option<Vec<String>> = "list of texts", "JWT, at+jwt, or none";
        /// Accepted `client_id` or `azp`.
        clients: Option<Vec<String>> = "list of texts", "any";
        /// What further claims must say; `*` at either end stands for anything.
        require: Option<Rules> = "table", "–";
        /// The claim that names the caller.
        subject_claim: Option<String> = "claim", "sub";
        /// The claims with the caller's groups; dots or a JSON pointer reach inside.
        groups_claim: Option<OneOrMany> = "claim, or list", "groups";
        /// Put before each group, to tell issuers' groups apart.
        groups_prefix: Option<String> = "text", "–";
        /// The claim with the caller's tenant; without it everyone is in the tenant `default`.
        tenant_claim: Option<String> = "claim", "–";
        /// Whether callers are people or programs: `auto`, `user` or `service`.
        kind: Option<At<String>> = "word", "auto";
        /// Tokens of which this holds belong to programs, beside those whose subject is the client.
        service_when: Option<Rules> = "table", "–";
        /// The claim that states a purpose.
        purpose_claim: Option<String> = "claim", "–";
        /// The claim that states a lawful basis.
        basis_claim: Option<String> = "claim", "–";
        /// The claim that names the person whom calls are about.
        data_subject_claim: Option<String> = "claim", "–";
        /// Where its keys are: a URL or `file:PATH`.
        jwks: Option<At<String>> = "URL or file", "OpenID Connect discovery";
        /// How long its keys count while it cannot be asked.
        keys_max_age: Option<At<String>> = "duration", "24h";
        /// How opaque tokens are checked.
        introspection: Option<IntrospectionFile> = "table", "–";
    }
}

/// What claims must say.
pub(super) type Rules = BTreeMap<String, RuleFile>;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RuleFile {
    Flag(bool),
    Number(i64),
    Text(String),
    Texts(Vec<String>),
}

impl RuleFile {
    pub(super) fn into_values(self) -> Vec<String> {
        match self {
            Self::Flag(flag) => vec![flag.to_string()],
            Self::Number(number) => vec![number.to_string()],
            Self::Text(text) => vec![text],
            Self::Texts(texts) => texts,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

table! {
    /// Opaque tokens of an issuer (RFC 7662).
    IntrospectionFile = "issuer.introspection" {
        /// Where they are checked.
        url: Option<At<String>> = "URL", "what discovery names";
        /// Our name at the issuer.
        client_id: String = "text", "required";
        /// Our secret there: `env:NAME` or `file:PATH`.
        client_secret: At<String> = "source", "required";
        /// How long an answer is remembered.
        cache: Option<At<String>> = "duration", "1m";
    }
}

table! {
    /// What concerns every caller. Read at start-up only; the files that it names are read again when they change.
    IdentityFile = "[identity]" {
        /// By how much clocks may differ.
        leeway: Option<At<String>> = "duration", "30s";
        /// Wrong credentials per address; above: 429. 0 is no limit.
        failures_per_minute: Option<At<i64>> = "number", "60";
        /// Threads that check signatures.
        verify_threads: Option<At<i64>> = "number", "1";
        /// Tokens that may wait for them; above: 503.
        verify_queue: Option<At<i64>> = "number", "1024";
        /// What `sallyport keys issue` writes: `file:PATH`.
        api_keys: Option<At<String>> = "file", "in the data directory";
        /// Tokens that count no more: `file:PATH`.
        revoked: Option<At<String>> = "file", "–";
        /// Purposes that go with groups; the first that fits counts.
        purpose: Option<Vec<At<PurposeFile>>> = "list of tables", "–";
        /// Whom client certificates stand for.
        certificates: Option<CertificatesFile> = "table", "nobody";
    }
}

table! {
    /// A purpose that goes with groups.
    PurposeFile = "[[identity.purpose]]" {
        /// Callers in one of them.
        groups: Vec<String> = "list of texts", "required";
        /// What they call for.
        purpose: String = "text", "required";
        /// The lawful basis of it.
        basis: Option<String> = "text", "–";
    }
}

table! {
    /// Whom client certificates stand for. They are verified against `listen.tls.client_ca`; they count where no token is sent.
    CertificatesFile = "[identity.certificates]" {
        /// Trust domains whose SPIFFE IDs count.
        spiffe_domains: Option<Vec<String>> = "list of texts", "–";
        /// Whether a subject's common name counts where there is no SPIFFE ID.
        common_names: Option<bool> = "true or false", "false";
        /// The tenant of all of them.
        tenant: Option<String> = "text", "default";
        /// The groups that they are in.
        groups: Option<Vec<CertificateGroupsFile>> = "list of tables", "–";
    }
}

table! {
    /// The groups of certificates.
    CertificateGroupsFile = "identity.certificates.groups" {
        /// The SPIFFE ID or name; `*` at either end stands for anything.
        pattern as "match": String = "text", "required";
        /// The groups.
        groups: Vec<String> = "list of texts", "required";
    }
}

table! {
    /// Where operators connect: health, metrics, admin API, console. Read at start-up only.
    AdminFile = "[admin]" {
        /// Address and port.
        address: At<String> = "ADDRESS:PORT", "127.0.0.1:9900";
        /// This port as browsers see it; the login needs it.
        url: Option<At<String>> = "URL", "–";
        /// How long a login to the console lasts.
        session: Option<At<String>> = "duration", "8h";
        /// How people sign in to the console.
        login: Option<At<LoginFile>> = "table", "by token only";
        /// Who may do what.
        roles: Option<RolesFile> = "table", "nobody may do anything";
    }
}

table! {
    /// The console's login, by OpenID Connect.
    LoginFile = "[admin.login]" {
        /// Who signs people in.
        issuer: At<String> = "URL", "required";
        /// Our name there.
        client_id: String = "text", "required";
        /// Our secret there: `env:NAME` or `file:PATH`.
        client_secret: Option<At<String>> = "source", "–";
        /// What is asked for.
        scopes: Option<Vec<String>> = "list of texts", "openid, profile";
        /// The claim that names the person.
        subject_claim: Option<String> = "claim", "sub";
        /// The claims with the person's groups.
        groups_claim: Option<OneOrMany> = "claim, or list", "groups";
        /// The claim with the person's tenant.
        tenant_claim: Option<String> = "claim", "–";
        /// Where its keys are: a URL or `file:PATH`.
        jwks: Option<At<String>> = "URL or file", "OpenID Connect discovery";
    }
}

table! {
    /// Which groups may do what on the admin port (docs/identity.md).
    RolesFile = "[admin.roles]" {
        /// May look.
        viewer: Option<Vec<String>> = "list of groups", "–";
        /// May approve calls.
        approver: Option<Vec<String>> = "list of groups", "–";
        /// May read evidence.
        auditor: Option<Vec<String>> = "list of groups", "–";
        /// May do everything.
        admin: Option<Vec<String>> = "list of groups", "–";
    }
}

table! {
    /// What is presented to model servers in place of the caller's token: `header` and `value`, `bearer`, or `oauth2`.
    CredentialFile = "upstream.credential" {
        /// The header.
        header: Option<At<String>> = "field name", "–";
        /// Its whole value: `env:NAME` or `file:PATH`, never the secret itself. A file is read again when it changes.
        value: Option<At<String>> = "source", "–";
        /// A bearer token for `authorization`: `env:NAME` or `file:PATH`.
        bearer: Option<At<String>> = "source", "–";
        /// An access token by client credentials (RFC 6749 §4.4), renewed before it expires.
        oauth2: Option<ClientCredentialsFile> = "table", "–";
    }
}

table! {
    /// Where access tokens for model servers come from.
    ClientCredentialsFile = "upstream.credential.oauth2" {
        /// The token endpoint.
        token_url: At<String> = "URL", "required";
        /// Our name there.
        client_id: String = "text", "required";
        /// Our secret there: `env:NAME` or `file:PATH`.
        client_secret: At<String> = "source", "required";
        /// What is asked for.
        scopes: Option<Vec<String>> = "list of texts", "–";
        /// The `audience` to ask for.
        audience: Option<String> = "text", "–";
        /// The `resource` to ask for (RFC 8707).
        resource: Option<String> = "URL", "–";
    }
}
