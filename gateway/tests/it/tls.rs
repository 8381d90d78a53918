//! TLS on both sides of the real binary: rustls peers, certificates made here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::common::run::{House, Running};
use crate::common::{Client, chat_body};
use load_tests::mock_model::{self, MockOptions};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

/// An authority that signs what tests need.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key in PEM.
    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let name = match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().unwrap()),
        };
        self.sign_for(name, usage)
    }

    fn sign_for(&self, name: SanType, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, house: &House, file: &str, name: &str, usage: ExtendedKeyUsagePurpose) {
        let (certificate, key) = self.sign(name, usage);
        replace(house, &format!("{file}.key"), &key);
        replace(house, &format!("{file}.pem"), &certificate);
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// A caller that trusts this authority, without a certificate of its own.
    fn caller(&self) -> ClientConfig {
        self.caller_of(rustls::DEFAULT_VERSIONS)
    }

    fn caller_of(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    fn caller_with(&self, pair: &(String, String)) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(pair.1.as_bytes()).unwrap(),
            )
            .unwrap()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn replace(house: &House, name: &str, text: &str) {
    std::fs::write(house.path("replacement"), text).unwrap();
    std::fs::rename(house.path("replacement"), house.path(name)).unwrap();
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection whose handshake is done.
fn shake_hands(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Tls> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

fn refused(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> String {
    // In TLS 1.3 the server's objection comes after the client's last message of the handshake.
    let mut tls = match shake_hands(address, config, name) {
        Ok(tls) => tls,
        Err(error) => return error.to_string(),
    };
    let read = tls.write_all(b"GET / HTTP/1.1\r\n").and_then(|()| tls.read(&mut [0; 1]));
    read.expect_err("the gateway refuses").to_string()
}

const LISTEN: &str =
    "[listen.tls]\ncert = \"a.pem\"\nkey = \"a.key\"\nmore = [{ cert = \"b.pem\", key = \"b.key\" }]\n";

fn upstream(address: SocketAddr) -> String {
    format!("[[upstream]]\nname = \"chat\"\nendpoints = [\"http://{address}\"]\n")
}

fn gateway(house: &House, authority: &Authority, listen: &str, upstreams: &str) -> Running {
    authority.write(house, "a", "a.example", ExtendedKeyUsagePurpose::ServerAuth);
    authority.write(house, "b", "b.example", ExtendedKeyUsagePurpose::ServerAuth);
    replace(house, "ca.pem", &authority.pem);
    house.configure(listen, upstreams);
    house.start()
}

#[test]
fn callers_speak_both_versions_by_name_and_come_back_quicker() {
    let (house, authority) = (House::new(), Authority::new());
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let running = gateway(&house, &authority, LISTEN, &upstream(mock.addr()));
    let token = house.token();

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = authority.caller_of(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        for (round, kind) in [HandshakeKind::Full, HandshakeKind::Resumed].into_iter().enumerate() {
            let name = "b.example";
            let tls = shake_hands(running.address, &config, name).unwrap();
            assert_eq!(tls.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(tls.conn.handshake_kind().map(|own| own == kind), Some(true), "{version:?} round {round}");
            let mut client = Client::over(tls);
            let whole = client.chat(&token, &chat_body("m", "hello", false));
            assert_eq!(whole.status, 200, "{}", whole.text());
            let stream = client.chat(&token, &chat_body("m", "hello", true));
            assert!(stream.text().contains("data: [DONE]"));
        }
    }
    // A name that no certificate has gets the first one.
    let config = Arc::new(authority.caller());
    assert!(shake_hands(running.address, &config, "a.example").is_ok());
    let said = refused(running.address, &config, "c.example");
    assert!(said.contains("a.example"), "{said}");

    let mut only_h2 = authority.caller();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    let said = refused(running.address, &Arc::new(only_h2), "a.example");
    assert!(said.contains("NoApplicationProtocol"), "{said}");

    let mut plain = Client::connect(running.address);
    plain.send(b"GET /v1/models HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = plain.answer();
    assert!(answer.status == 400 && answer.text().contains("tls_required"), "{}", answer.text());

    for (metric, least) in [
        ("sallyport_tls_handshakes_total{version=\"1.2\",resumed=\"no\"}", 1),
        ("sallyport_tls_handshakes_total{version=\"1.2\",resumed=\"yes\"}", 1),
        ("sallyport_tls_handshakes_total{version=\"1.3\",resumed=\"yes\"}", 1),
        ("sallyport_tls_handshakes_failed_total{reason=\"alpn\"}", 1),
        ("sallyport_tls_handshakes_failed_total{reason=\"plain_http\"}", 1),
    ] {
        assert!(running.metric(&token, metric) >= least, "{metric}");
    }
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn large_messages_pass_in_both_directions() {
    let (house, authority) = (House::new(), Authority::new());
    let mock = mock_model::spawn(MockOptions { say: Some("w ".repeat(300_000)), ..MockOptions::default() }).unwrap();
    let running = gateway(&house, &authority, LISTEN, &upstream(mock.addr()));
    let tls = shake_hands(running.address, &Arc::new(authority.caller()), "a.example").unwrap();
    let mut client = Client::over(tls);
    let token = house.token();
    for _ in 0..2 {
        let answer = client.chat(&token, &chat_body("m", &"x ".repeat(500_000), false));
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() > 600_000, "{}", answer.body.len());
    }
}

#[test]
fn certificates_of_callers_are_verified() {
    let (house, authority, other) = (House::new(), Authority::new(), Authority::new());
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let required = format!("{LISTEN}client_ca = \"ca.pem\"\n");
    let running = gateway(&house, &authority, &required, &upstream(mock.addr()));
    let own = authority.sign("alice", ExtendedKeyUsagePurpose::ClientAuth);
    let foreign = other.sign("mallory", ExtendedKeyUsagePurpose::ClientAuth);

    let said = refused(running.address, &Arc::new(authority.caller()), "a.example");
    assert!(said.contains("CertificateRequired"), "{said}");
    let said = refused(running.address, &Arc::new(authority.caller_with(&foreign)), "a.example");
    assert!(said.contains("UnknownCA") || said.contains("DecryptError"), "{said}");

    let tls = shake_hands(running.address, &Arc::new(authority.caller_with(&own)), "a.example").unwrap();
    let mut client = Client::over(tls);
    let token = house.token();
    assert_eq!(client.chat(&token, &chat_body("m", "hello", false)).status, 200);
    client.send(b"GET /v1/models HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = client.answer();
    assert!(answer.status == 401 && answer.text().contains("client certificate"), "{}", answer.text());
    assert!(running.metric(&token, "sallyport_tls_handshakes_failed_total{reason=\"certificate\"}") >= 2);
    drop(running);

    let optional = format!("{required}client_certificates = \"optional\"\n");
    let running = gateway(&house, &authority, &optional, &upstream(mock.addr()));
    let tls = shake_hands(running.address, &Arc::new(authority.caller()), "a.example").unwrap();
    assert_eq!(Client::over(tls).chat(&token, &chat_body("m", "hello", false)).status, 200);
    let said = refused(running.address, &Arc::new(authority.caller_with(&foreign)), "a.example");
    assert!(said.contains("UnknownCA") || said.contains("DecryptError"), "{said}");
}

#[test]
fn a_spiffe_id_is_a_caller_where_no_token_is_sent() {
    const TRUST: &str = "[identity.certificates]\nspiffe_domains = [\"prod.example.com\"]\n\
                         groups = [{ match = \"spiffe://prod.example.com/ns/ml/*\", groups = [\"ml-apps\"] }]\n";
    let (house, authority) = (House::new(), Authority::new());
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let required = format!("{LISTEN}client_ca = \"ca.pem\"\n");
    let mut running = gateway(&house, &authority, &required, &format!("{TRUST}{}", upstream(mock.addr())));
    let address = running.address;
    let chat = |id: &str, token: &str| {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let pair = authority.sign_for(SanType::URI(id.try_into().unwrap()), usage);
        let tls = shake_hands(address, &Arc::new(authority.caller_with(&pair)), "a.example").unwrap();
        let body = chat_body("m", "hello", false);
        let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let mut client = Client::over(tls);
        client.send(
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: a.example\r\n{auth}Content-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        client.answer()
    };
    assert_eq!(chat("spiffe://prod.example.com/ns/ml/sa/batch", "").status, 200);
    // Known, but in no group that may; and of a domain that nobody vouches for here.
    assert_eq!(chat("spiffe://prod.example.com/ns/web/sa/site", "").status, 403);
    let stranger = chat("spiffe://dev.example.com/ns/ml/sa/batch", "");
    assert!(stranger.status == 401 && stranger.text().contains("invalid_certificate"), "{}", stranger.text());
    // What a certificate says is claims for policies.
    std::fs::write(
        house.path("test.policy"),
        "policy \"by certificate\" version 2\nclaim names : list from \"certificate.names\"\n\
         claim spiffe : string from \"certificate.spiffe_id\"\nclaim print : string from \"certificate.fingerprint\"\n\
         rule web { when identity.names is present and \"URI:spiffe://prod.example.com/ns/web/sa/site\" in identity.names \
         and identity.spiffe is present and identity.spiffe == \"spiffe://prod.example.com/ns/web/sa/site\" \
         and identity.print is present allow }\n\
         rule ml { when identity in group(\"ml-apps\") allow }\n",
    )
    .unwrap();
    running.wait_until("the new policy is in force", |_| {
        chat("spiffe://prod.example.com/ns/web/sa/site", "").status == 200
    });
    // A token comes first, also a bad one.
    assert_eq!(chat("spiffe://dev.example.com/ns/ml/sa/batch", &house.token()).status, 200);
    assert_eq!(chat("spiffe://prod.example.com/ns/ml/sa/batch", "no.good.token").status, 401);
}

#[test]
fn new_certificates_are_served_while_old_connections_go_on() {
    let (house, before, after) = (House::new(), Authority::new(), Authority::new());
    let mock = mock_model::spawn(MockOptions::default()).unwrap();
    let mut running = gateway(&house, &before, LISTEN, &upstream(mock.addr()));
    let token = house.token();
    let tls = shake_hands(running.address, &Arc::new(before.caller()), "a.example").unwrap();
    let mut old = Client::over(tls);
    assert_eq!(old.chat(&token, &chat_body("m", "one", false)).status, 200);

    // A broken file changes nothing but readiness's words.
    let good = std::fs::read_to_string(house.path("a.pem")).unwrap();
    replace(&house, "a.pem", "not a certificate");
    running.wait_until("the broken file is noticed", |running| {
        running.get("/readyz", "").text().contains("\"config_current\":false")
    });
    assert!(shake_hands(running.address, &Arc::new(before.caller()), "a.example").is_ok());
    assert!(running.get("/readyz", &token).text().contains("no certificate in PEM form"));
    replace(&house, "a.pem", &good);

    after.write(&house, "a", "a.example", ExtendedKeyUsagePurpose::ServerAuth);
    let trusting_new = Arc::new(after.caller());
    running.wait_until("the new certificate is served", |running| {
        shake_hands(running.address, &trusting_new, "a.example").is_ok()
    });
    assert_eq!(old.chat(&token, &chat_body("m", "two", false)).status, 200);
    assert!(running.get("/readyz", "").text().contains("\"config_current\":true"));
}

#[test]
fn handshakes_that_do_not_come_are_cut() {
    let (house, authority) = (House::new(), Authority::new());
    let listen = format!("limits = {{ tls_handshake = \"300ms\" }}\n{LISTEN}");
    let running = gateway(&house, &authority, &listen, &upstream(crate::common::dead_address()));
    let mut silent = Client::connect(running.address);
    assert!(silent.is_closed());
    let mut slow = Client::connect(running.address);
    slow.send(b"\x16\x03\x01");
    assert!(slow.is_closed());
    let token = house.token();
    assert_eq!(running.metric(&token, "sallyport_limits_exceeded_total{limit=\"tls_handshake\"}"), 2);
}

/// A model server under TLS that answers each request of each connection with the same bytes.
fn tls_upstream(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(got @ 1..) = tls.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..got]);
                    if seen.ends_with(b"\r\n\r\n") {
                        let body = r#"{"object":"list","data":[]}"#;
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                            body.len()
                        );
                        if tls.write_all(format!("{head}{body}").as_bytes()).is_err() {
                            return;
                        }
                        seen.clear();
                    }
                }
            });
        }
    });
    address
}

fn server_config(authority: &Authority, name: &str, client_auth: bool) -> ServerConfig {
    let (certificate, key) = authority.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = if client_auth {
        let roots = Arc::new(authority.roots());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap()
}

#[test]
fn model_servers_are_verified_and_see_our_certificate() {
    let (house, authority, other) = (House::new(), Authority::new(), Authority::new());
    authority.write(&house, "own", "gateway.example", ExtendedKeyUsagePurpose::ClientAuth);
    replace(&house, "ca.pem", &authority.pem);
    replace(&house, "other.pem", &other.pem);
    let by_address = tls_upstream(server_config(&authority, "127.0.0.1", false));
    let by_name = tls_upstream(server_config(&authority, "model.example", true));
    let upstreams = format!(
        "[[upstream]]\nname = \"plain\"\nmatch = {{ host = \"plain\" }}\nendpoints = [\"https://{by_address}\"]\ntls = {{ ca = \"ca.pem\" }}\n\
         [[upstream]]\nname = \"mutual\"\nmatch = {{ host = \"mutual\" }}\nendpoints = [\"https://{by_name}\"]\n\
         tls = {{ ca = \"ca.pem\", cert = \"own.pem\", key = \"own.key\", server_name = \"model.example\" }}\n\
         [[upstream]]\nname = \"anonymous\"\nmatch = {{ host = \"anonymous\" }}\nendpoints = [\"https://{by_name}\"]\n\
         tls = {{ ca = \"ca.pem\", server_name = \"model.example\" }}\n\
         [[upstream]]\nname = \"misnamed\"\nmatch = {{ host = \"misnamed\" }}\nendpoints = [\"https://{by_name}\"]\ntls = {{ ca = \"ca.pem\" }}\n\
         [[upstream]]\nname = \"untrusted\"\nmatch = {{ host = \"untrusted\" }}\nendpoints = [\"https://{by_address}\"]\ntls = {{ ca = \"other.pem\" }}\n"
    );
    house.configure("", &upstreams);
    let running = house.start();
    let token = house.token();
    let mut client = Client::connect(running.address);
    let mut ask = |host: &str| {
        client.send(
            format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes(),
        );
        client.answer().status
    };
    for _ in 0..2 {
        assert_eq!(ask("plain"), 200);
        assert_eq!(ask("mutual"), 200);
    }
    for host in ["anonymous", "misnamed", "untrusted"] {
        assert_eq!(ask(host), 502, "{host}");
    }
    // The second calls went over the connections of the first.
    assert_eq!(running.metric(&token, "sallyport_upstream_connections_total{result=\"reused\"}"), 2);
}
