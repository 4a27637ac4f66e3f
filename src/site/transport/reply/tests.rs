use super::*;
use crate::model::FailureClass;
use proptest::prelude::*;

/// What ureq gets, and whether that is whole when the connection ends; or the failure.
type Read = Result<(String, bool), String>;

/// Reads a reply whose connection ends, in pieces of these sizes, over and over.
fn read_in(pieces: &[usize], mut raw: &[u8]) -> Read {
    let (mut reply, mut clean) = (Reply::new(), Vec::new());
    for &size in pieces.iter().cycle() {
        let mut piece = &raw[..size.min(raw.len())];
        raw = &raw[piece.len()..];
        loop {
            let used = reply.read(piece, &mut clean).map_err(|failure| failure.to_string())?;
            piece = &piece[used..];
            if used == 0 {
                break;
            }
        }
        if raw.is_empty() {
            break;
        }
    }
    match reply.not_http() {
        Some((failure, _)) => Err(failure.to_string()),
        // Each byte of the text is one of the reply.
        None => Ok((clean.iter().map(|&byte| char::from(byte)).collect(), reply.may_end())),
    }
}

/// Each character of `raw` is one byte.
fn read(raw: &str) -> Read {
    read_in(&[usize::MAX], &bytes(raw))
}

fn bytes(raw: &str) -> Vec<u8> {
    raw.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn body(raw: &str) -> Result<(String, bool), String> {
    read(raw).map(|(clean, is_whole)| (clean.split_once("\r\n\r\n").unwrap_or_default().1.to_owned(), is_whole))
}

#[test]
fn a_head_is_read_as_curl_does_and_passed_on_as_strict_http() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Type: a/b\nContent-Length: 1\n\n",
        "\r\n\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\n",
        "http/1.0  200\r\ncontent-type:a/b\r\nCONTENT-LENGTH:1 \r\n\r\n",
        "HTTP/1.9\t200\tTrouv\u{e9}\u{1}\r\nContent-Type \t:  a/b\r\nContent-Length: 1, 01\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tContent-Length: 7\r\nContent-Type:\r\n a/b\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n Content-Length: 7\r\nPHP Warning:  x\r\n<!-- x -->\r\n: x\r\nX(y): z\r\nContent-Type: a/b\r\nX: \u{7f}\u{1}\u{e9}\rContent-Length: 7\r\nContent-Length: 1\r\n\r\n",
    ] {
        let expected = "HTTP/1.1 200 \r\ncontent-length: 1\r\ncontent-type: a/b\r\n\r\n!".to_owned();
        // What follows the reply is not looked at.
        assert_eq!(read(&format!("{head}!HTTP/1.1 500 x\r\n\r\n")), Ok((expected, true)), "{head:?}");
    }
}

#[test]
fn values_are_passed_on_without_control_characters() {
    let head = "HTTP/1.1 301 x\r\nX: y\r\nLocation: /Z\u{fc}\u{c3}\u{bc}\u{7f}\r\n\t b\u{1}c\r\nRetry-After: 1\r\nretry-after: 2\r\n\r\n";
    let clean = "HTTP/1.1 301 \r\nlocation: /Z\u{fc}\u{c3}\u{bc}  b c\r\nretry-after: 1, 2\r\n\r\n";
    assert_eq!(read(head), Ok((clean.to_owned(), true)));
}

#[test]
fn a_head_is_bounded_in_bytes_and_not_in_lines() {
    let head = |filler: &str| format!("HTTP/1.1 200 OK\r\n{filler}Content-Length: 0\r\n\r\n");
    let filled = |length: usize| head(&format!("X: {}\r\n", "y".repeat(length - head("").len() - 5)));
    let too_large = Err("too-large: header of more than 65536 bytes".to_owned());
    assert!(read(&filled(MAX_HEAD_BYTES)).is_ok());
    assert_eq!(read(&filled(MAX_HEAD_BYTES + 1)), too_large);
    assert!(read(&head(&"X:\n".repeat(20_000))).is_ok());
    assert!(read(&head(&"Date:\n".repeat(10_000))).unwrap().0.len() < 1000);
    for endless in ["\r\n", "HTTP/1.1 100 x\r\n\r\n", "HTTP/1.1 200 "] {
        assert_eq!(read(&endless.repeat(MAX_HEAD_BYTES)), too_large);
    }
}

#[test]
fn the_length_of_a_body_is_that_of_rfc_9112() {
    let of = |headers: &str| body(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    let until_closed = "3\r\nabc\r\n0\r\n\r\n";
    for (headers, expected) in [
        ("Content-Length: 4", "3\r\na"),
        ("Content-Length: 4\r\nContent-Length: 004", "3\r\na"),
        ("X: y", until_closed),
        ("Transfer-Encoding: identity", until_closed),
        ("Transfer-Encoding: Chunked", "abc"),
        ("Transfer-Encoding: chunked, chunked\r\nTransfer-Encoding: chunked", "abc"),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "abc"),
    ] {
        assert_eq!(of(headers), Ok((expected.to_owned(), true)), "{headers}");
    }
    assert_eq!(of("Content-Length: 99999999999999999999"), Ok((until_closed.to_owned(), false)));
    for (headers, expected) in [
        ("Content-Length: 4\r\nContent-Length: 5", "invalid HTTP: different values of Content-Length"),
        ("Content-Length: 4, 5", "invalid HTTP: different values of Content-Length"),
        ("Content-Length: -1", "invalid HTTP: Content-Length is not a number"),
        ("Content-Length: +1", "invalid HTTP: Content-Length is not a number"),
        ("Content-Length: 0x4", "invalid HTTP: Content-Length is not a number"),
        ("Content-Length: 4 5", "invalid HTTP: Content-Length is not a number"),
        ("Content-Length:", "invalid HTTP: Content-Length is not a number"),
        ("Transfer-Encoding: gzip, chunked", "compressed, with the transfer encoding gzip"),
        ("Transfer-Encoding: secret", "unknown transfer encoding"),
    ] {
        assert_eq!(of(headers), Err(format!("garbled: {expected}")), "{headers}");
    }
    for status in [101, 204, 304] {
        let reply = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\nContent-Length: x\r\n\r\nab");
        assert_eq!(body(&reply), Ok((String::new(), true)));
    }
}

#[test]
fn chunks_may_be_padded_and_extended() {
    let of = |chunks: &str| body(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    for chunks in [
        "4\r\nab\r\n\r\n0\r\n\r\n",
        "4\nab\r\n\n0\n\n",
        "004 \t\r\nab\r\n\r\n00000000000000000000  \r\n",
        "2;a=\"b;c \\\" d\"\r\nab\r\n2 ; x\r\n\r\n\r\n0;last\r\nX: y\r\n\r\n",
        "4\r\nab\r\n\r\n0\r\nanything",
    ] {
        assert_eq!(of(chunks), Ok(("ab\r\n".to_owned(), true)), "{chunks:?}");
    }
    for cut in ["", "4", "4\r", "4\r\nab", "4\r\nab\r\n", "4\r\nab\r\n\r\n", "4\r\nab\r\n\r\n0", "4\r\nab\r\n\r\n0;"] {
        assert!(!of(cut).unwrap().1, "{cut:?}");
    }
    for (chunks, expected) in [
        ("none\r\n", "chunk size is not a number"),
        (";x\r\n", "chunk size is not a number"),
        ("\r\n", "chunk size is not a number"),
        (" 1\r\n", "chunk size is not a number"),
        ("-1\r\n", "chunk size is not a number"),
        ("1 2\r\n", "chunk size is not a number"),
        ("0x1\r\n", "chunk size is not a number"),
        ("1\rx", "chunk size is not a number"),
        ("10000000000000000\r\n", "chunk size out of range"),
        ("1\r\nab\r\n", "chunk longer than its size"),
        ("1\r\na\rb\r\n", "chunk longer than its size"),
    ] {
        assert_eq!(of(chunks), Err(format!("garbled: invalid HTTP: {expected}")), "{chunks:?}");
    }
}

#[test]
fn what_is_not_http_is_shown() {
    let long = "x".repeat(100);
    for (raw, expected) in [
        ("SSH-2.0-OpenSSH_9.6\r\nx", "SSH-2.0-OpenSSH_9.6 x"),
        ("220 mail.example ESMTP\r\n", "220 mail.example ESMTP"),
        ("-ERR unknown command\r\n", "-ERR unknown command"),
        ("HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 OK"),
        ("HTTP/1.1 20 OK\r\n", "HTTP/1.1 20 OK"),
        ("HTTP/1.1 2000 OK\r\n", "HTTP/1.1 2000 OK"),
        ("HTTP/1.1200 OK\r\n", "HTTP/1.1200 OK"),
        ("HTTP/1.1 099 x\r\n", "HTTP/1.1 099 x"),
        ("HTTP/2 200 OK\r\n", "HTTP/2 200 OK"),
        ("HTTP/x\r\n", "HTTP/x"),
        ("Status: 200 OK\r\nX: y\r\n", "Status: 200 OK X: y"),
        ("<html><Title lang=de>Router\n setup</title>x", "page without a head: Router setup"),
        ("<html>\r\n<body>Hello", "<html> <body>Hello"),
        ("CXN-0.2-AES-CBC-HMAC\u{1}x", "a message without a head"),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}F", "the port speaks TLS, so the URL should begin with https"),
        ("\0\0\u{1}\u{2}", "no text"),
        (&long, &long[..60]),
    ] {
        assert_eq!(read(raw), Err(format!("garbled: not HTTP: {expected}")), "{raw:?}");
    }
    for (raw, expected) in [
        ("HTTP/1.1 200 O\0K\r\n", "NUL byte in the status line"),
        ("HTTP/1.1 200 OK\r\nX\0: y\r\n", "NUL byte in a header of status 200"),
        ("HTTP/1.1 100 x\r\nX: \0\r\n\r\n", "NUL byte in a header of status 100"),
    ] {
        assert_eq!(read(raw), Err(format!("garbled: invalid HTTP: {expected}")), "{raw:?}");
    }
}

#[test]
fn more_is_read_of_what_is_not_http_until_its_line_or_title_is_whole() {
    let is_cut = |raw: &str| {
        let mut reply = Reply::new();
        reply.read(raw.as_bytes(), &mut Vec::new()).unwrap();
        reply.not_http().map(|(_, is_cut)| is_cut)
    };
    for (raw, expected) in [
        ("", None),
        ("HTT", None),
        ("\r", None),
        ("HTTP/1.1 nothing", None),
        ("SSH-2", Some(true)),
        ("SSH-2.0\r\n", Some(false)),
        ("<html>\r\n<head><tit", Some(true)),
        ("<html>\r\n<head><title>x</title>", Some(false)),
        (&format!("<html>{}", "x".repeat(2000)), Some(false)),
        (&"x".repeat(240), Some(false)),
    ] {
        assert_eq!(is_cut(raw), expected, "{raw}");
    }
}

#[test]
fn a_reply_that_settles_ends_the_request() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    for (raw, expected) in [
        ("", false),
        ("HTTP/1.1 413", false),
        ("HTTP/1.1 413 x\r\nX: y\r\n", false),
        ("HTTP/1.1 100 Continue\r\n\r\n", false),
        (ok, false),
        (&format!("{ok}a"), false),
        (&format!("{ok}ab"), true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 x\r\n\r\n", true),
        ("HTTP/1.1 301 x\r\nLocation: /\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", true),
        ("220 mail.example", true),
    ] {
        assert_eq!(settles(raw.as_bytes()), expected, "{raw:?}");
    }
}

#[test]
fn the_date_is_that_of_the_last_head() {
    let mut reply = Reply::new();
    let raw = "HTTP/1.1 100 x\r\nDate: Thu, 01 Jan 1970 00:00:01 GMT\r\n\r\n\
        HTTP/1.1 500 x\r\nDate: now\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n";
    reply.read(raw.as_bytes(), &mut Vec::new()).unwrap();
    assert_eq!(reply.date(), Some(60));
}

#[test]
fn another_request_follows_only_within_a_time_that_both_ends_allow() {
    let of = |raw: &str| {
        let mut reply = Reply::new();
        let mut rest = raw.as_bytes();
        while let used @ 1.. = reply.read(rest, &mut Vec::new()).unwrap() {
            rest = &rest[used..];
        }
        reply.idle_limit().map(|limit| limit.as_millis())
    };
    let with = |headers: &str| of(&format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: 0\r\n\r\n"));
    for (headers, expected) in [
        ("X: y", Some(1500)),
        ("Connection: keep-alive, Upgrade", Some(1500)),
        ("Connection: keep-alive\r\nCONNECTION: upgrade,\tCLOSE ", None),
        ("Keep-Alive: timeout=5, max=100", Some(1500)),
        ("Keep-Alive: max=100,Timeout = \"2\"", Some(1000)),
        ("Keep-Alive: timeout=1", Some(500)),
        ("Keep-Alive: timeout=9\r\nKeep-Alive: timeout=0", None),
        ("Keep-Alive: timeout=-1, timeout, timeout=", Some(1500)),
        ("Transfer-Encoding: identity", None),
    ] {
        assert_eq!(with(headers), expected, "{headers}");
    }
    for (raw, expected) in [
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.0 200 OK\r\nConnection: x,Keep-Alive\r\nContent-Length: 0\r\n\r\n", Some(1500)),
        ("HTTP/1.1 100 x\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some(1500)),
        ("HTTP/1.1 200 OK\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", Some(1500)),
        ("HTTP/1.1 304 x\r\n\r\n", None),
    ] {
        assert_eq!(of(raw), expected, "{raw:?}");
    }
    let chunked = |headers: &str, end: &str| {
        of(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n1\r\na\r\n0{end}"))
    };
    for end in ["\r\n\r\n", "\n\n", ";x\r\nX: y\r\n\r\n", "\r\nX\r\n\rY: z\r\n\r\n\r\n"] {
        assert_eq!((chunked("", end), chunked("Content-Length: 1\r\n", end)), (Some(1500), None), "{end:?}");
    }
    for end in ["", "\r\n", "\r\n\r", "\r\nX: y\r\n"] {
        assert_eq!(chunked("", end), None, "{end:?}");
    }
}

/// Bytes that are often near HTTP.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 \n\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Length: 9\r\n".to_vec()),
        Just(b"Location:\r\n /a\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5;x\r\nabcde\r\n0\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_reply_means_the_same_in_any_pieces(raw in replies(), pieces in proptest::collection::vec(1_usize..9, 1..9)) {
        let whole = read_in(&[usize::MAX], &raw);
        prop_assert_eq!(read_in(&pieces, &raw), whole);
    }

    #[test]
    fn ureq_gets_a_head_that_its_parser_reads(raw in replies()) {
        if let Ok((clean, _)) = read_in(&[usize::MAX], &raw) && !clean.is_empty() {
            let clean = bytes(&clean);
            let mut headers = [httparse::EMPTY_HEADER; 128];
            let parsed = httparse::Response::new(&mut headers).parse(&clean);
            prop_assert!(parsed.is_ok_and(|head| head.is_complete()), "{}", String::from_utf8_lossy(&clean));
        }
    }

    #[test]
    fn failures_of_a_reply_are_garbled_or_too_large(raw in replies()) {
        let mut reply = Reply::new();
        if let Err(failure) = reply.read(&raw, &mut Vec::new()) {
            prop_assert!(matches!(failure.class, FailureClass::Garbled | FailureClass::TooLarge));
        }
    }
}
