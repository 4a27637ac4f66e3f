//! The request as it is sent, and replies that succeed.

use super::*;
use crate::model::ViaPort;
use crate::site::Api;
use std::sync::mpsc;

#[test]
fn a_request_has_the_headers_of_the_protocol() {
    let (sender, requests) = mpsc::channel();
    let address = serve(move |mut stream| {
        sender.send(request(&stream)).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nreply").unwrap();
    });
    let client = Client::new(Options {
        allow_net: vec!["127.0.0.0/8".parse().unwrap()],
        user_agent: "poller/1\r\n(é)".into(),
        ..Options::default()
    });
    let sent = |endpoint: Endpoint| {
        assert_eq!(client.post(&endpoint, b"message").unwrap().body, b"reply");
        let request = requests.recv().unwrap();
        let mut lines: Vec<_> = request.split("\r\n").map(str::to_owned).collect();
        lines[1..].sort();
        lines
    };
    let expected = |host: &str, authorization: Option<&str>| {
        let mut lines = vec![
            "POST /a?b=%20c HTTP/1.1".to_owned(),
            String::new(),
            "accept-encoding: identity".to_owned(),
            "accept: */*".to_owned(),
            "connection: close".to_owned(),
            "content-length: 7".to_owned(),
            "content-type: application/x-civi-cxn".to_owned(),
            format!("host: {host}"),
            "message".to_owned(),
            "user-agent: poller/1??(?)".to_owned(),
        ];
        lines.extend(authorization.map(|value| format!("authorization: {value}")));
        lines[1..].sort();
        lines
    };

    let direct = Endpoint::new(&format!("http://u:p@{address}/a?b=%20c#d"), None).unwrap();
    assert_eq!(sent(direct), expected(&address.to_string(), Some("Basic dTpw")));

    let via: ViaPort = address.to_string().parse().unwrap();
    let via = Endpoint::new("http://Site.example.org:81/a?b=%20c", Some(&via)).unwrap();
    assert_eq!(sent(via), expected("site.example.org", None));
}

#[test]
fn a_heartbeat_sends_the_credentials_of_its_url() {
    let (sender, heads) = mpsc::channel();
    let address = serve(move |mut stream| {
        let lines = BufReader::new(&stream).lines().map_while(Result::ok);
        sender.send(lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>()).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let client = Client::new(Options { allow_net: vec!["127.0.0.0/8".parse().unwrap()], ..Options::default() });
    assert_eq!(client.get(&format!("http://u:p@{address}/ping")), Ok(()));
    let head = heads.recv().unwrap();
    assert!(head.contains(&"authorization: Basic dTpw".to_owned()), "{head:?}");
}

#[test]
fn a_body_of_any_framing_arrives_whole() {
    for (reply, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.0 200 OK\r\n\r\nuntil closed", "until closed"),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab\r\n\r\n0\r\n\r\n", "ab\r\n"),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", "!"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", "!"),
    ] {
        let got = post(&client(LONG), &format!("http://{}/", answer(reply))).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), body);
    }
}

#[test]
fn a_client_and_the_api_of_a_site_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Client>();
    shared::<Api>();
}
