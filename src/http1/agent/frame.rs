//! Frames of the Stream Processing Offload Protocol 2.0, as HAProxy's `doc/SPOE.txt` (sections 3.1 and 3.2) describes
//! them: how their bytes are read and written. What a message means is in `question`.

/// The bounds of the length of a frame, without the four bytes of its length. HAProxy's default is the upper one.
pub const FRAME_BYTES_MIN: usize = 256;
pub const FRAME_BYTES_MAX: usize = 16_380;

/// The bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// Type, flags, and the shortest stream and frame identifiers.
const SHORTEST_BYTES: usize = 7;

/// The only flag of a frame that is a whole payload.
const FIN: u32 = 1;
const ABORT: u32 = 2;

const UNSET: u8 = 0;
const HAPROXY_HELLO: u8 = 1;
const HAPROXY_DISCONNECT: u8 = 2;
const NOTIFY: u8 = 3;
const AGENT_HELLO: u8 = 101;
const AGENT_DISCONNECT: u8 = 102;
const ACK: u8 = 103;

/// The types of data.
const NULL: u8 = 0;
const BOOLEAN: u8 = 1;
const UINT32: u8 = 3;
const IPV4: u8 = 6;
const IPV6: u8 = 7;
const STRING: u8 = 8;
const BINARY: u8 = 9;

/// The version of the protocol that this server speaks.
const VERSION: &[u8] = b"2.0";

/// Why a connection ends; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    Normal = 0,
    TimedOut = 2,
    TooBig = 3,
    Invalid = 4,
    NoVersion = 5,
    NoFrameSize = 6,
    NoCapabilities = 7,
    UnsupportedVersion = 8,
    BadFrameSize = 9,
    Fragmented = 10,
}

impl Status {
    /// The message for HAProxy and for the log.
    pub fn text(self) -> &'static str {
        match self {
            Status::Normal => "the connection is not needed any more",
            Status::TimedOut => "a frame took too long",
            Status::TooBig => "a frame is too big",
            Status::Invalid => "a frame is invalid",
            Status::NoVersion => "the hello names no version",
            Status::NoFrameSize => "the hello names no size of frames",
            Status::NoCapabilities => "the hello names no capabilities",
            Status::UnsupportedVersion => "only version 2 of the protocol is spoken",
            Status::BadFrameSize => "the size of frames is too small",
            Status::Fragmented => "frames in fragments are not accepted",
        }
    }
}

/// A frame of HAProxy.
#[derive(Debug, Eq, PartialEq)]
pub enum Frame<'a> {
    Hello(Hello),
    Disconnect,
    Notify(Ids, Messages<'a>),
}

/// What HAProxy announces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hello {
    /// What both sides support, which is at most [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: usize,
    /// The connection only checks whether there is an agent, and ends after the answer.
    pub is_health_check: bool,
}

/// The stream and the frame that an answer belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ids {
    pub stream: u64,
    pub frame: u64,
}

const NO_IDS: Ids = Ids {
    stream: 0,
    frame: 0,
};

/// The value of an argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Data<'a> {
    Binary(&'a [u8]),
    Boolean(bool),
    Ipv4([u8; 4]),
    Ipv6([u8; 16]),
    Null,
    /// A negative number is larger than any number that a message of ours has.
    Number(u64),
    Text(&'a [u8]),
}

/// The next frame, without its length, if all of it has arrived. A length that no frame may have is refused before its
/// bytes arrive.
pub fn next(arrived: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, Status> {
    let Some((length, rest)) = arrived.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    match length {
        _ if length > bytes_max => Err(Status::TooBig),
        0..SHORTEST_BYTES => Err(Status::Invalid),
        _ => Ok(rest.get(..length)),
    }
}

/// Reads one frame.
pub fn read(frame: &[u8]) -> Result<Frame<'_>, Status> {
    let mut bytes = Bytes(frame);
    let kind = bytes.byte()?;
    let flags = bytes.array().map(u32::from_be_bytes)?;
    let ids = Ids {
        stream: bytes.number()?,
        frame: bytes.number()?,
    };
    match (kind, flags) {
        (UNSET, _) | (NOTIFY, 0) => Err(Status::Fragmented),
        (NOTIFY, FIN) => Ok(Frame::Notify(ids, Messages(bytes))),
        (HAPROXY_HELLO, FIN) if ids == NO_IDS => hello(bytes).map(Frame::Hello),
        // The reasons of HAProxy change nothing.
        (HAPROXY_DISCONNECT, _) if ids == NO_IDS && flags & !ABORT == FIN => Ok(Frame::Disconnect),
        _ => Err(Status::Invalid),
    }
}

/// The messages of a frame. A malformed one is an error, and the last item.
#[derive(Debug, Eq, PartialEq)]
pub struct Messages<'a>(Bytes<'a>);

impl<'a> Messages<'a> {
    /// The next message: how many arguments it has, of which each must be read. `None` after the last message.
    pub fn next(&mut self) -> Result<Option<u8>, Status> {
        if self.0.0.is_empty() {
            return Ok(None);
        }
        // The name is that of a section in HAProxy's file, and has no meaning here.
        self.0.text()?;
        self.0.byte().map(Some)
    }

    /// The next argument of the message: its name, and its value.
    pub fn argument(&mut self) -> Result<(&'a [u8], Data<'a>), Status> {
        Ok((self.0.text()?, self.0.data()?))
    }
}

fn hello(mut bytes: Bytes<'_>) -> Result<Hello, Status> {
    let (mut versions, mut size, mut capabilities, mut check) = (None, None, None, None);
    while !bytes.0.is_empty() {
        let (name, value) = (bytes.text()?, bytes.data()?);
        let place = match name {
            b"supported-versions" => &mut versions,
            b"max-frame-size" => &mut size,
            b"capabilities" => &mut capabilities,
            b"healthcheck" => &mut check,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Status::Invalid);
        }
    }
    let Data::Text(versions) = versions.ok_or(Status::NoVersion)? else {
        return Err(Status::Invalid);
    };
    let Data::Number(size) = size.ok_or(Status::NoFrameSize)? else {
        return Err(Status::Invalid);
    };
    let Data::Text(_) = capabilities.ok_or(Status::NoCapabilities)? else {
        return Err(Status::Invalid);
    };
    let is_health_check = match check {
        None => false,
        Some(Data::Boolean(is_check)) => is_check,
        Some(_) => return Err(Status::Invalid),
    };
    let is_spoken = |version: &[u8]| version.trim_ascii().starts_with(b"2.");
    if !versions.split(|byte| *byte == b',').any(is_spoken) {
        return Err(Status::UnsupportedVersion);
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size < FRAME_BYTES_MIN {
        return Err(Status::BadFrameSize);
    }
    Ok(Hello {
        frame_bytes_max: size.min(FRAME_BYTES_MAX),
        is_health_check,
    })
}

/// Bytes that have not been read yet. Every length is compared with what is left.
#[derive(Debug, Eq, PartialEq)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Result<u8, Status> {
        self.array().map(|[byte]| byte)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Status> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Status::Invalid)?;
        self.0 = rest;
        Ok(*array)
    }

    /// A number of one byte up to 239, and of seven bits more with each byte that follows. Every number has one form.
    fn number(&mut self) -> Result<u64, Status> {
        let first = self.byte()?;
        let mut number = u64::from(first);
        if first < 240 {
            return Ok(number);
        }
        let mut shift = 4;
        loop {
            let byte = self.byte()?;
            let part = u64::from(byte);
            if shift >= u64::BITS || (part << shift) >> shift != part {
                return Err(Status::Invalid);
            }
            number = number.checked_add(part << shift).ok_or(Status::Invalid)?;
            if byte < 128 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    fn text(&mut self) -> Result<&'a [u8], Status> {
        let length = usize::try_from(self.number()?).map_err(|_| Status::Invalid)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Status::Invalid)?;
        self.0 = rest;
        Ok(text)
    }

    fn data(&mut self) -> Result<Data<'a>, Status> {
        let byte = self.byte()?;
        Ok(match (byte & 0x0f, byte >> 4) {
            (NULL, 0) => Data::Null,
            (BOOLEAN, flag @ (0 | 1)) => Data::Boolean(flag == 1),
            (2..=5, 0) => Data::Number(self.number()?),
            (IPV4, 0) => Data::Ipv4(self.array()?),
            (IPV6, 0) => Data::Ipv6(self.array()?),
            (STRING, 0) => Data::Text(self.text()?),
            (BINARY, 0) => Data::Binary(self.text()?),
            _ => return Err(Status::Invalid),
        })
    }
}

/// Writes one frame after what is in `out`.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    fn begin(out: &'a mut Vec<u8>, kind: u8, ids: Ids) -> Writer<'a> {
        let start = out.len();
        let mut writer = Writer { out, start };
        writer.out.extend_from_slice(&[0; LENGTH_BYTES]);
        writer.out.push(kind);
        writer.out.extend_from_slice(&FIN.to_be_bytes());
        writer.number(ids.stream);
        writer.number(ids.frame);
        writer
    }

    /// Begins the answer to a frame.
    pub fn ack(out: &'a mut Vec<u8>, ids: Ids) -> Writer<'a> {
        Writer::begin(out, ACK, ids)
    }

    /// Ends the frame. `false`: it is longer than `bytes_max`, and has been taken back.
    pub fn end(self, bytes_max: usize) -> bool {
        let length = self.out.len() - self.start - LENGTH_BYTES;
        match u32::try_from(length) {
            Ok(written) if length <= bytes_max => {
                let place = self.start..self.start + LENGTH_BYTES;
                self.out[place].copy_from_slice(&written.to_be_bytes());
                true
            }
            _ => {
                self.out.truncate(self.start);
                false
            }
        }
    }

    /// Sets a variable of the transaction to a text.
    pub fn set_text(&mut self, name: &[u8], value: &[u8]) {
        self.set(name);
        self.out.push(STRING);
        self.text(value);
    }

    /// Sets a variable of the transaction to a number.
    pub fn set_number(&mut self, name: &[u8], value: u32) {
        self.set(name);
        self.out.push(UINT32);
        self.number(u64::from(value));
    }

    /// Removes a variable of the transaction.
    pub fn unset(&mut self, name: &[u8]) {
        self.out.extend_from_slice(&[UNSET_VAR, 2, TRANSACTION]);
        self.name(name);
    }

    fn set(&mut self, name: &[u8]) {
        self.out.extend_from_slice(&[SET_VAR, 3, TRANSACTION]);
        self.name(name);
    }

    /// A name of a header as that of a variable, in which HAProxy allows no hyphen.
    fn name(&mut self, name: &[u8]) {
        self.number(name.len() as u64);
        let byte = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
        self.out.extend(name.iter().map(byte));
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.out.extend_from_slice(text);
    }

    fn number(&mut self, number: u64) {
        if number < 240 {
            self.out.push(number as u8);
            return;
        }
        self.out.push(number as u8 | 240);
        let mut rest = (number - 240) >> 4;
        while rest >= 128 {
            self.out.push(rest as u8 | 128);
            rest = (rest - 128) >> 7;
        }
        self.out.push(rest as u8);
    }
}

/// Actions of an answer, and the scope of their variables.
const SET_VAR: u8 = 1;
const UNSET_VAR: u8 = 2;
const TRANSACTION: u8 = 2;

/// Writes the answer to a hello.
pub fn write_hello(out: &mut Vec<u8>, hello: Hello) {
    let mut writer = Writer::begin(out, AGENT_HELLO, NO_IDS);
    writer.text(b"version");
    writer.out.push(STRING);
    writer.text(VERSION);
    writer.text(b"max-frame-size");
    writer.out.push(UINT32);
    writer.number(hello.frame_bytes_max as u64);
    writer.text(b"capabilities");
    writer.out.push(STRING);
    // Several questions may be on their way over one connection, each whole in one frame.
    writer.text(b"pipelining");
    writer.end(FRAME_BYTES_MIN);
}

/// Writes the last frame of a connection.
pub fn write_disconnect(out: &mut Vec<u8>, status: Status) {
    let mut writer = Writer::begin(out, AGENT_DISCONNECT, NO_IDS);
    writer.text(b"status-code");
    writer.out.push(UINT32);
    writer.number(status as u64);
    writer.text(b"message");
    writer.out.push(STRING);
    writer.text(status.text().as_bytes());
    writer.end(FRAME_BYTES_MIN);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a number, as the table in HAProxy's document has them.
    #[test]
    fn numbers_have_one_form() {
        for (number, length) in [
            (0, 1),
            (239, 1),
            (240, 2),
            (2_287, 2),
            (2_288, 3),
            (264_431, 3),
            (264_432, 4),
            (33_818_863, 4),
            (33_818_864, 5),
            (u64::from(u32::MAX), 5),
            (u64::MAX, 10),
        ] {
            let mut out = Vec::new();
            let mut writer = Writer {
                out: &mut out,
                start: 0,
            };
            writer.number(number);
            assert_eq!(out.len(), length, "{number}");
            let mut bytes = Bytes(&out);
            assert_eq!(bytes.number(), Ok(number));
            assert!(bytes.0.is_empty());
            for end in 0..length {
                assert_eq!(Bytes(&out[..end]).number(), Err(Status::Invalid));
            }
        }
        // Beyond 64 bits.
        for bytes in [vec![255; 12], [vec![255; 9], vec![127]].concat()] {
            assert_eq!(Bytes(&bytes).number(), Err(Status::Invalid));
        }
    }

    #[test]
    fn a_length_is_judged_before_its_bytes_arrive() {
        assert_eq!(next(b"\0\0\x3f", FRAME_BYTES_MAX), Ok(None));
        assert_eq!(next(b"\0\0\x3f\xfc", FRAME_BYTES_MAX), Ok(None));
        assert_eq!(next(b"\0\0\x3f\xfd", FRAME_BYTES_MAX), Err(Status::TooBig));
        assert_eq!(next(b"GET / HT", FRAME_BYTES_MAX), Err(Status::TooBig));
        assert_eq!(next(&[0; 4], FRAME_BYTES_MAX), Err(Status::Invalid));
        assert_eq!(next(b"\0\0\0\x06", FRAME_BYTES_MAX), Err(Status::Invalid));
        assert_eq!(
            next(b"\0\0\0\x07abcdefgh", FRAME_BYTES_MAX),
            Ok(Some(&b"abcdefg"[..]))
        );
    }

    /// The hello of HAProxy 2.6.
    fn hello_of(edit: impl Fn(&str) -> String) -> Vec<u8> {
        let items = "\x12supported-versions\x08\x032.0\x0emax-frame-size\x03\x7f\x0ccapabilities\x08\x10pipelining,async\
                     \tengine-id\x08\x01x";
        [b"\x01\0\0\0\x01\0\0", edit(items).as_bytes()].concat()
    }

    #[test]
    fn a_hello_needs_a_version_a_size_and_capabilities() {
        let read_with = |from: &str, to: &str| {
            let frame = hello_of(|items| items.replace(from, to));
            match read(&frame) {
                Ok(Frame::Hello(hello)) => Ok((hello.frame_bytes_max, hello.is_health_check)),
                Ok(other) => panic!("{other:?}"),
                Err(status) => Err(status),
            }
        };
        assert_eq!(read_with("", ""), Err(Status::BadFrameSize));
        assert_eq!(
            read_with("\x032.0", "\x031.0"),
            Err(Status::UnsupportedVersion)
        );
        assert_eq!(
            read_with("supported-v", "Supported-v"),
            Err(Status::NoVersion)
        );
        assert_eq!(read_with("max-f", "Max-f"), Err(Status::NoFrameSize));
        assert_eq!(read_with("capab", "Capab"), Err(Status::NoCapabilities));
        assert_eq!(read_with("\x03\x7f", "\x08\x01a"), Err(Status::Invalid));
        assert_eq!(
            read_with("\tengine-id", "\x0emax-frame-size"),
            Err(Status::Invalid)
        );
        assert_eq!(
            read_with("\tengine-id", "\x0bhealthcheck"),
            Err(Status::Invalid)
        );
    }

    #[test]
    fn sizes_are_agreed_and_health_checks_recognised() {
        for (announced, agreed) in [
            (256, Ok(256)),
            (255, Err(Status::BadFrameSize)),
            (16_380, Ok(16_380)),
            (65_532, Ok(16_380)),
            (u64::MAX, Ok(16_380)),
        ] {
            let mut frame = Vec::new();
            let mut writer = Writer::begin(&mut frame, HAPROXY_HELLO, NO_IDS);
            writer.text(b"supported-versions");
            writer.out.push(STRING);
            writer.text(b"3.1 , 2.4,1.0");
            writer.text(b"max-frame-size");
            writer.out.push(UINT32);
            writer.number(announced);
            writer.text(b"capabilities");
            writer.out.push(STRING);
            writer.text(b"");
            writer.text(b"healthcheck");
            writer.out.push(BOOLEAN | 1 << 4);
            assert!(writer.end(FRAME_BYTES_MAX));
            let expected = agreed.map(|frame_bytes_max| {
                Frame::Hello(Hello {
                    frame_bytes_max,
                    is_health_check: true,
                })
            });
            assert_eq!(read(&frame[LENGTH_BYTES..]), expected, "{announced}");
        }
    }

    #[test]
    fn only_whole_frames_of_known_types_are_read() {
        for (frame, expected) in [
            (&b"\x00\0\0\0\x01\x01\x01"[..], Status::Fragmented),
            (b"\x03\0\0\0\0\x01\x01", Status::Fragmented),
            (b"\x03\0\0\0\x03\x01\x01", Status::Invalid),
            (b"\x03\0\0\0\x05\x01\x01", Status::Invalid),
            (b"\x04\0\0\0\x01\x01\x01", Status::Invalid),
            (b"\x65\0\0\0\x01\0\0", Status::Invalid),
            (b"\x67\0\0\0\x01\x01\x01", Status::Invalid),
            (b"\x01\0\0\0\x01\x01\0", Status::Invalid),
            (b"\x02\0\0\0\0\0\0", Status::Invalid),
            (b"\x03\0\0\0\x01\xff", Status::Invalid),
        ] {
            assert_eq!(read(frame), Err(expected), "{frame:?}");
        }
        assert_eq!(read(b"\x02\0\0\0\x01\0\0rest"), Ok(Frame::Disconnect));
    }

    #[test]
    fn an_answer_that_does_not_fit_is_taken_back() {
        let mut out = b"before".to_vec();
        let mut writer = Writer::ack(
            &mut out,
            Ids {
                stream: 1,
                frame: 2,
            },
        );
        writer.set_text(b"x-name", &[b'a'; 300]);
        assert!(!writer.end(FRAME_BYTES_MIN));
        assert_eq!(out, b"before");
        let mut writer = Writer::ack(
            &mut out,
            Ids {
                stream: 300,
                frame: 2,
            },
        );
        writer.set_text(b"x-name", b"v");
        writer.set_number(b"status", 401);
        writer.unset(b"allowed");
        assert!(writer.end(FRAME_BYTES_MIN));
        assert_eq!(
            out,
            b"before\0\0\0\x2d\x67\0\0\0\x01\xfc\x03\x02\
              \x01\x03\x02\x06x_name\x08\x01v\
              \x01\x03\x02\x06status\x03\xf1\x0a\
              \x02\x02\x02\x07allowed"
        );
    }
}
