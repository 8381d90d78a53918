//! Lanes in front of real receivers on the loopback.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::lane::{Lane, Parcel, Sender};
use super::*;
use crate::config::{Secret, WebhookKey};
use base64::Engine as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc as std_mpsc;

const SOON: &[Duration] = &[Duration::from_millis(5); 4];

/// A receiver that answers its requests with these statuses in turn and sends them here; status 0 never answers.
fn receiver(statuses: &'static [u16]) -> (SocketAddr, std_mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = std_mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for status in statuses {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let request = read(&mut stream);
            if *status > 0 {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
            kept.push(stream);
            let _ = seen.send(request);
        }
        // What hangs stays open until the test is over.
        std::thread::park();
    });
    (address, requests)
}

fn read(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let got = stream.read(&mut buffer).unwrap();
        assert!(got > 0, "the sender left");
        text.push_str(std::str::from_utf8(&buffer[..got]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            return text;
        }
    }
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        event: "alert.raised",
        title: "Alert (high): <probing> & more".to_owned(),
        facts: vec![("Caller", "alice".to_owned())],
        preview: Some("hello [US_SSN]".to_owned()),
        approval: None,
        undecided: false,
        at_unix_ms: 1_795_000_000_000,
        useful_until_unix_ms: u64::MAX,
        data: serde_json::json!({ "severity": "high" }),
    }
}

fn parcel(message: Message) -> Parcel {
    Parcel { message: Arc::new(message), recipient: None, link: None, buttons: false, preview: true }
}

struct Office {
    post: Arc<Post>,
    given_up: mpsc::Receiver<GivenUp>,
}

impl Office {
    fn new() -> Self {
        let (sender, given_up) = mpsc::channel(16);
        let clock = Clock::manual(1_795_000_000_000);
        Self { post: Arc::new(Post { clock, metrics: Arc::default(), given_up: sender }), given_up }
    }

    fn lane(&self, address: SocketAddr) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(Way::Webhook, Arc::clone(&self.post)).with_back_off(SOON));
        let url = Secret::new(format!("http://{address}/secret-path"));
        tokio::spawn(Arc::clone(&lane).run(Sender::Webhook { url, key: WebhookKey(vec![7; 32]) }));
        lane
    }

    fn count(&self, result: &str) -> u64 {
        let page = self.post.metrics.page();
        let name = format!("sallyport_notifications_total{{way=\"webhook\",result=\"{result}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

async fn next(requests: &std_mpsc::Receiver<String>) -> String {
    loop {
        if let Ok(request) = requests.try_recv() {
            return request;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn header(request: &str, name: &str) -> String {
    request.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned()
}

#[test]
fn a_receiver_that_fails_is_tried_again_with_the_same_id() {
    run(async {
        let office = Office::new();
        let (address, requests) = receiver(&[500, 302, 503, 204]);
        office.lane(address).push(parcel(message("msg_1")));
        for _ in 0..4 {
            let request = next(&requests).await;
            assert_eq!(header(&request, "webhook-id"), "msg_1");
            // As a receiver checks it.
            let body = request.split_once("\r\n\r\n").unwrap().1;
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
            let signed = format!("msg_1.{}.{body}", header(&request, "webhook-timestamp"));
            let signature = header(&request, "webhook-signature");
            let tag = base64::engine::general_purpose::STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &tag).unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&body["type"], &body["data"]["severity"]), (&"alert.raised".into(), &"high".into()));
        }
        while office.count("sent") == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!((office.count("retried"), office.count("sent"), office.count("given_up")), (3, 1, 0));
    });
}

#[test]
fn what_cannot_be_sent_is_given_up_and_told() {
    run(async {
        let mut office = Office::new();
        let (address, requests) = receiver(&[500, 500, 500, 500, 500]);
        office.lane(address).push(parcel(message("msg_1")));
        let given_up = office.given_up.recv().await.unwrap();
        assert_eq!((given_up.message.as_str(), given_up.attempts), ("msg_1", 5));
        assert!(given_up.why.contains("500") && !given_up.why.contains("secret-path"), "{}", given_up.why);
        assert_eq!(requests.try_iter().count(), 5);
        // 410 says that it is of no use.
        let (address, _requests) = receiver(&[410]);
        office.lane(address).push(parcel(message("msg_2")));
        assert_eq!(office.given_up.recv().await.unwrap().attempts, 1);
        // What nobody needs any more is not tried.
        let (address, _requests) = receiver(&[200]);
        office.lane(address).push(parcel(Message { useful_until_unix_ms: 5, ..message("msg_3") }));
        assert_eq!(office.given_up.recv().await.unwrap().attempts, 0);
        // Nobody listens there.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        office.lane(nobody).push(parcel(message("msg_4")));
        let given_up = office.given_up.recv().await.unwrap();
        assert!(!given_up.why.contains("secret-path"), "{}", given_up.why);
        assert_eq!(office.count("given_up"), 4);
    });
}

#[test]
fn one_that_hangs_holds_up_no_other_and_is_given_up_at_the_end() {
    run(async {
        let mut office = Office::new();
        let (hangs, at_hanging) = receiver(&[0]);
        let (works, at_working) = receiver(&[200, 200, 200]);
        let (slow, fast) = (office.lane(hangs), office.lane(works));
        for id in ["msg_1", "msg_2", "msg_3"] {
            slow.push(parcel(message(id)));
            fast.push(parcel(message(id)));
        }
        assert_eq!(header(&next(&at_hanging).await, "webhook-id"), "msg_1");
        for _ in 0..3 {
            next(&at_working).await;
        }
        while office.count("sent") < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(slow.is_busy() && !fast.is_busy());
        slow.give_up_all("the gateway ended");
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(office.given_up.recv().await.unwrap().message);
        }
        ids.sort();
        assert_eq!(ids, ["msg_1", "msg_2", "msg_3"]);
    });
}

#[test]
fn a_full_queue_gives_up_what_comes_last() {
    run(async {
        let (sender, mut given_up) = mpsc::channel(16);
        let post = Arc::new(Post { clock: Clock::manual(0), metrics: Arc::default(), given_up: sender });
        // Nobody runs it.
        let lane = Lane::new(Way::Mail, post);
        for number in 0..1001 {
            lane.push(parcel(message(&format!("msg_{number}"))));
        }
        assert_eq!(given_up.recv().await.unwrap().message, "msg_1000");
    });
}

#[test]
fn slack_reads_no_markup_in_what_callers_chose() {
    let mut parcel = parcel(message("msg_1"));
    parcel.message = Arc::new(Message { approval: Some("01abc".to_owned()), undecided: true, ..message("msg_1") });
    parcel.buttons = true;
    parcel.link = Some("https://gw.example.com/approvals/01abc".to_owned());
    let body: serde_json::Value = serde_json::from_str(&slack::body(&parcel)).unwrap();
    assert_eq!(body["text"], "Alert (high): &lt;probing&gt; &amp; more");
    let text = body.to_string();
    assert!(!text.contains("mrkdwn"), "{text}");
    let blocks = body["blocks"].as_array().unwrap();
    let actions = blocks.last().unwrap()["elements"].as_array().unwrap();
    let names: Vec<_> = actions.iter().map(|own| own["action_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["approve", "deny", "open"]);
    assert!(actions.iter().take(2).all(|own| own["value"] == "01abc"));
    parcel.preview = false;
    assert!(!slack::body(&parcel).contains("US_SSN"));
}
