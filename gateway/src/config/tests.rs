#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use std::path::Path;

const GOOD: &str = r#"
data = "data"
[listen]
address = "127.0.0.1:0"
[[issuer]]
url = "https://idp.example.com/realms/ai"
audience = ["inference"]
[[upstream]]
name = "chat"
endpoints = ["http://10.0.0.5:8000", "http://[::1]:8001", "http://models.internal"]
match = { path = "/v1/" }
[policy]
path = "policies/"
"#;

fn errors(text: &str) -> String {
    match parse(Path::new("sallyport.toml"), text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn the_smallest_file_gets_every_default() {
    let config = parse(Path::new("/etc/sallyport/sallyport.toml"), GOOD).unwrap();
    assert_eq!(config.data, Path::new("/etc/sallyport/data"));
    assert_eq!(config.policy, Path::new("/etc/sallyport/policies/"));
    assert_eq!(config.listen.limits, Limits::default());
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9900");
    assert_eq!(config.approvals.hold, Some(Duration::from_secs(200)));
    assert_eq!(config.evidence.durability, Durability::Strict);
    let issuer = config.issuers.first().unwrap();
    assert_eq!(
        (issuer.groups_claims.as_slice(), &issuer.jwks),
        (["groups".to_owned()].as_slice(), &JwksSource::Discovery)
    );
    let endpoints: Vec<_> =
        config.upstreams[0].endpoints.iter().map(|e| (e.host.as_str(), e.port, e.authority.as_str())).collect();
    assert_eq!(
        endpoints,
        [("10.0.0.5", 8000, "10.0.0.5:8000"), ("::1", 8001, "[::1]:8001"), ("models.internal", 80, "models.internal")]
    );
}

#[test]
fn the_example_file_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sallyport.toml");
    load(&path).unwrap();
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    insta::assert_snapshot!(errors(&GOOD.replace("address =", "adress =")));
}

#[test]
fn a_missing_key_and_broken_syntax_name_the_place() {
    insta::assert_snapshot!(errors(&GOOD.replace("name = \"chat\"", "")));
    insta::assert_snapshot!(errors("data = \n"));
}

#[test]
fn every_wrong_value_is_told_at_once() {
    let text = r#"
data = "data"
[listen]
address = "localhost"
cores = 0
[listen.limits]
head_bytes = "32 kilobytes"
head_timeout = 10
[[issuer]]
url = "idp.example.com"
audience = []
[[upstream]]
name = "chat"
endpoints = ["https://api.example.com", "http://host:8000/v1", "10.0.0.5"]
credential = { header = "authorization", value = "Bearer abc" }
match = { path = "v1" }
[policy]
path = "policies/"
[evidence]
durability = "eventually"
key = "abc"
[approvals]
hold = "soon"
"#;
    insta::assert_snapshot!(errors(text));
    insta::assert_snapshot!(errors(&text.replace("head_timeout = 10\n", "")));
}

#[test]
fn two_upstreams_may_share_neither_name_nor_path() {
    let twice =
        format!("{GOOD}[[upstream]]\nname = \"chat\"\nendpoints = [\"http://h:1\"]\nmatch = {{ path = \"/v1/\" }}\n");
    insta::assert_snapshot!(errors(&twice));
}

#[test]
fn a_missing_file_says_so() {
    insta::assert_snapshot!(load(Path::new("no-such-file.toml")).unwrap_err().to_string());
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "Bearer s3cret\n").unwrap();
    let value = format!("file:{}", dir.path().join("key").display());
    let line =
        format!("match = {{ path = \"/v1/\" }}\ncredential = {{ header = \"Authorization\", value = \"{value}\" }}");
    let config = parse(Path::new("sallyport.toml"), &GOOD.replace("match = { path = \"/v1/\" }", &line)).unwrap();
    let credential = config.upstreams[0].credential.as_ref().unwrap();
    let CredentialSource::File(_, secret) = &credential.source else { panic!("{credential:?}") };
    assert_eq!((credential.header.as_str(), secret.expose()), ("authorization", "Bearer s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn who_may_call_and_operate_is_checked_whole() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let file = format!("file:{}", secret.display());
    let text = format!(
        r#"
data = "data"
[listen]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
url = "https://console.example.com/"
session = "1h"
[admin.login]
issuer = "https://idp.example.com"
client_id = "console"
client_secret = "{file}"
scopes = ["openid", "groups"]
[admin.roles]
viewer = ["*"]
admin = ["platform"]
[[issuer]]
url = "https://idp.example.com"
audience = ["inference"]
algorithms = ["ES512", "EdDSA"]
types = ["at+jwt"]
clients = ["app"]
require = {{ email_verified = true, hd = ["a", "b"], level = 3 }}
groups_claim = ["groups", "/resource_access/app/roles"]
groups_prefix = "idp:"
kind = "service"
keys_max_age = "6h"
introspection = {{ client_id = "gw", client_secret = "{file}", cache = "30s" }}
[identity]
failures_per_minute = 0
verify_threads = 3
api_keys = "file:keys.json"
revoked = "file:revoked.toml"
[[identity.purpose]]
groups = ["clinicians"]
purpose = "triage"
basis = "vital_interest"
[identity.certificates]
spiffe_domains = ["prod.example.com"]
groups = [{{ match = "spiffe://prod.example.com/ns/ml/*", groups = ["ml-apps"] }}]
[[upstream]]
name = "a"
endpoints = ["http://h:1"]
match = {{ path = "/a/" }}
credential = {{ bearer = "{file}" }}
[[upstream]]
name = "b"
endpoints = ["http://h:2"]
match = {{ path = "/b/" }}
credential = {{ oauth2 = {{ token_url = "https://idp.example.com/token", client_id = "gw", client_secret = "{file}", scopes = ["infer"] }} }}
[policy]
path = "policies/"
"#
    );
    let config = parse(Path::new("/etc/sallyport/sallyport.toml"), &text).unwrap();
    let issuer = &config.issuers[0];
    assert_eq!(issuer.algorithms, [crate::identity::Algorithm::ES512, crate::identity::Algorithm::EdDSA]);
    assert_eq!((issuer.kind, issuer.keys_max_age), (KindOfCallers::Services, Duration::from_hours(6)));
    let rules: Vec<_> = issuer.require.iter().map(|rule| (rule.claim.as_str(), rule.values.join("|"))).collect();
    assert_eq!(rules, [("email_verified", "true".to_owned()), ("hd", "a|b".to_owned()), ("level", "3".to_owned())]);
    assert_eq!(config.identity.revoked.as_deref(), Some(Path::new("/etc/sallyport/revoked.toml")));
    assert_eq!((config.identity.failures_per_minute, config.identity.verify_threads), (0, 3));
    assert!(config.identity.certificates.groups[0].fits("spiffe://prod.example.com/ns/ml/sa/x"));
    assert_eq!(config.admin.url.as_deref(), Some("https://console.example.com"));
    assert_eq!(config.admin.login.as_ref().unwrap().issuer.audience, ["console"]);
    let prefixes: Vec<_> = config.upstreams.iter().map(|own| own.credential.as_ref().unwrap().prefix).collect();
    assert_eq!(prefixes, ["Bearer ", "Bearer "]);
    for shown in [format!("{config:?}"), redacted(&config).to_string()] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    insta::assert_snapshot!(errors(
        &text
            .replace("\"ES512\"", "\"HS256\", \"none\"")
            .replace("\"service\"", "\"robot\"")
            .replace("bearer = ", "header = \"x\", bearer = ")
            .replace("url = \"https://console.example.com/\"", "")
            .replace("\"file:keys.json\"", "\"keys.json\"")
            .replace("groups = [\"clinicians\"]", "groups = []")
    ));
}

#[test]
fn every_configuration_in_the_identity_guide_is_good() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["introspection", "console", "vllm", "token", "gw"] {
        std::fs::write(dir.path().join(name), "s3cret").unwrap();
    }
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/identity.md")).unwrap();
    let guide = guide.replace("file:/run/secrets/", &format!("file:{}/", dir.path().display()));
    let blocks = |fence: &str| -> Vec<String> {
        let parts = guide.split(fence).skip(1);
        parts.map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
    };
    let issuer = GOOD.find("[[issuer]]").unwrap();
    let upstream = GOOD.find("[[upstream]]").unwrap();
    let policy = GOOD.find("[policy]").unwrap();
    let mut issuers = Vec::new();
    for block in blocks("\n```toml\n") {
        // What a block does not show is taken from the smallest file.
        let mut text = GOOD[..issuer].to_owned();
        if !block.contains("[[issuer]]") {
            text.push_str(&GOOD[issuer..upstream]);
        }
        if !block.contains("[[upstream]]") {
            text.push_str(&GOOD[upstream..policy]);
        }
        text.push_str(&GOOD[policy..]);
        let config =
            parse(Path::new("sallyport.toml"), &format!("{text}\n{block}")).unwrap_or_else(|e| panic!("{block}\n{e}"));
        issuers.push(config.issuers[0].url.clone());
    }
    for name in ["keycloak", "microsoftonline", "okta", "accounts.google", "githubusercontent", "kubernetes"] {
        assert!(issuers.iter().any(|url| url.contains(name)), "{name} has no walkthrough");
    }
    let lists = blocks("\n```toml revocation\n");
    assert!(!lists.is_empty());
    for list in lists {
        assert_eq!(crate::identity::Revocations::parse(&list).unwrap().len(), 3);
    }
}

#[test]
fn dialects_are_names_or_routes() {
    let with = |lines: &str| GOOD.replace("match = { path = \"/v1/\" }", lines);
    let dialect = |lines: &str| parse(Path::new("sallyport.toml"), &with(lines)).unwrap().upstreams.remove(0).dialect;
    assert_eq!(dialect(""), Dialect::Auto);
    let anthropic = dialect("dialect = \"anthropic\"");
    assert!(anthropic.route("POST", "/v1/messages").is_some() && anthropic.route("POST", "/v1/responses").is_none());
    let own = dialect(
        "dialect = \"json\"\n[[upstream.route]]\npath = \"/predict/{model}\"\nrequest_text = [\"$.a[*].note\"]\nresponse_text = [\"$.b\"]",
    );
    assert!(own.route("POST", "/predict/x").is_some() && own.route("POST", "/v1/messages").is_none());
    assert_eq!((own.method_of("/predict/x"), own.to_string().as_str()), (Some("POST"), "json"));
    insta::assert_snapshot!(errors(&with("dialect = \"nonsense\"")));
    insta::assert_snapshot!(errors(&with("dialect = \"json\"")));
    insta::assert_snapshot!(errors(&with("[[upstream.route]]\npath = \"/x\"")));
    insta::assert_snapshot!(errors(&with(
        "dialect = \"json\"\n[[upstream.route]]\npath = \"/x\"\nresponse_text = [\"b\"]"
    )));
}
