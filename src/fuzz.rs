//! Runs a reader of this program on inputs that no client would send, for its unit tests. The targets stand next to what they
//! read: `fuzz.rs` in the folder of the reader.
//!
//! Each input of the corpus (`tests/fixtures/fuzz/TARGET/`) is judged, followed by mutations with a fixed seed. A judge
//! checks properties, and returns the *shape* of what happened in a few words: an input with a new shape is the
//! start of further mutations. With `LATCHKEY_FUZZ_MINUTES` (`dev/fuzz`) a target runs for that long with a new seed, and the
//! smallest input of each shape is stored in the corpus.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The largest input.
const BYTES_MAX: usize = 4_096;
/// The largest input that is stored, and the most inputs of a target.
const STORED_BYTES_MAX: usize = 600;
const STORED_MAX: usize = 40;
/// At most so many mutations of one input one after the other.
const STACKED_MAX: usize = 5;

/// A reader under test.
pub struct Target<'a> {
    /// The name of the folder of its corpus.
    pub name: &'static str,
    /// Texts that its inputs consist of.
    pub words: &'a [&'a str],
    /// How many mutations a plain test run makes.
    pub mutations: usize,
}

impl Target<'_> {
    /// Runs the target. A judge that panics has found a fault: the input is printed, and stored below `target/fuzz`.
    pub fn run(&self, judge: impl Fn(&[u8]) -> String) {
        let stored = self.stored();
        assert!(!stored.is_empty(), "{}: there is no corpus", self.name);
        let judge = |input: &[u8]| {
            catch_unwind(AssertUnwindSafe(|| judge(input))).unwrap_or_else(|panic| {
                self.keep(input);
                resume_unwind(panic)
            })
        };
        let mut pool = Pool::default();
        for input in &stored {
            pool.take(judge(input), input);
        }
        let Some(minutes) = self.minutes() else {
            let mut draw = Draw(1);
            for _ in 0..self.mutations {
                let input = self.mutated(&pool, &mut draw);
                pool.take(judge(&input), &input);
            }
            return;
        };
        if minutes == 0.0 {
            return;
        }
        let seed = nanoseconds();
        println!("{}: seed {seed}", self.name);
        let (mut draw, mut count, mut shapes) = (Draw(seed), 0_u64, pool.smallest.len());
        let end = SystemTime::now() + Duration::from_secs_f64(60.0 * minutes);
        while SystemTime::now() < end {
            for _ in 0..100 {
                let input = self.mutated(&pool, &mut draw);
                pool.take(judge(&input), &input);
                count += 1;
            }
            if pool.smallest.len() > shapes + shapes / 10 {
                shapes = pool.smallest.len();
                println!("{}: {count} inputs, {shapes} shapes", self.name);
            }
        }
        println!(
            "{}: {count} inputs, {} shapes",
            self.name,
            pool.smallest.len()
        );
        self.store(&pool, &judge);
    }

    /// For how long `dev/fuzz` runs this target: not at all if it runs another one.
    fn minutes(&self) -> Option<f64> {
        let text = std::env::var("LATCHKEY_FUZZ_MINUTES").ok()?;
        let is_wanted = std::env::var("LATCHKEY_FUZZ_TARGET").is_ok_and(|name| name == self.name);
        let minutes: f64 = text.parse().expect("LATCHKEY_FUZZ_MINUTES is a number");
        Some(if is_wanted { minutes } else { 0.0 })
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from("tests/fixtures/fuzz").join(self.name)
    }

    /// The corpus, in the order of its names.
    fn stored(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.folder()) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// Keeps an input that has found a fault.
    fn keep(&self, input: &[u8]) {
        let folder = PathBuf::from("target/fuzz");
        let path = folder.join(format!("{}-{}", self.name, name_of(input)));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, input).unwrap();
        println!(
            "{}: a fault, kept as {}:\n{}",
            self.name,
            path.display(),
            input.escape_ascii()
        );
    }

    /// Adds inputs with new shapes to the corpus, the smallest first. Files that are there stay.
    fn store(&self, pool: &Pool, judge: &impl Fn(&[u8]) -> String) {
        let stored = self.stored();
        let mut known: HashSet<String> = stored.iter().map(|input| judge(input)).collect();
        let mut new: Vec<(&String, &Vec<u8>)> = pool.smallest.iter().collect();
        new.sort_by_key(|(_, input)| input.len());
        let room = STORED_MAX.saturating_sub(stored.len());
        let mut added = 0;
        for (shape, input) in new {
            if added < room && input.len() <= STORED_BYTES_MAX && known.insert(shape.clone()) {
                let input = shrunk(input, shape, judge);
                fs::write(self.folder().join(name_of(&input)), &input).unwrap();
                added += 1;
            }
        }
        println!("{}: {added} inputs are new in the corpus", self.name);
    }

    /// An input of the pool after a few changes.
    fn mutated(&self, pool: &Pool, draw: &mut Draw) -> Vec<u8> {
        let mut input = pool.any(draw).to_vec();
        for _ in 0..=draw.below(STACKED_MAX) {
            self.mutate(&mut input, pool, draw);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, pool: &Pool, draw: &mut Draw) {
        let at = draw.below(input.len() + 1);
        let end = at + draw.below((input.len() - at).min(32) + 1);
        match draw.below(11) {
            0 => drop(input.drain(at..end)),
            1 => {
                let part = input[at..end].to_vec();
                insert(input, at, &part);
            }
            2 => {
                let other = pool.any(draw);
                let start = draw.below(other.len() + 1);
                let length = draw.below((other.len() - start).min(64) + 1);
                let part = other[start..start + length].to_vec();
                insert(input, at, &part);
            }
            3 => input.truncate(at),
            4 if at < input.len() => input[at] ^= 1 << draw.below(8),
            5 if at < input.len() => input[at] = draw.next() as u8,
            6 if at < input.len() => {
                input[at] = *draw.of(b"\0\t\n\r \"#%'+,-./09:;=?AZ[\\]^_az{|}~\x7f\x80\xff")
            }
            7 if at < input.len() && !input.is_empty() => {
                let other = draw.below(input.len());
                input.swap(at, other);
            }
            8 => {
                // A number next to a bound.
                let number: u64 = *draw.of(&[
                    0,
                    1,
                    7,
                    64,
                    100,
                    255,
                    256,
                    65_535,
                    65_536,
                    1 << 31,
                    1 << 53,
                    u64::MAX,
                ]);
                let text = number
                    .wrapping_add(draw.next() % 3)
                    .wrapping_sub(1)
                    .to_string();
                input.splice(at..end, text.bytes());
            }
            _ if !self.words.is_empty() => {
                let word = draw.of(self.words).as_bytes();
                match draw.below(3) {
                    0 => drop(input.splice(at..end, word.iter().copied())),
                    _ => insert(input, at, word),
                }
            }
            _ => input.push(draw.next() as u8),
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, part: &[u8]) {
    input.splice(at..at, part.iter().copied());
}

/// The input without the parts that its shape does not need.
fn shrunk(input: &[u8], shape: &str, judge: &impl Fn(&[u8]) -> String) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut step = input.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at + step <= input.len() {
            let shorter = [&input[..at], &input[at + step..]].concat();
            match judge(&shorter) == shape {
                true => input = shorter,
                false => at += step,
            }
        }
        step /= 2;
    }
    input
}

/// The smallest input of each shape.
#[derive(Default)]
struct Pool {
    smallest: BTreeMap<String, Vec<u8>>,
    inputs: Vec<Vec<u8>>,
}

impl Pool {
    fn take(&mut self, shape: String, input: &[u8]) {
        match self.smallest.get_mut(&shape) {
            Some(known) if known.len() <= input.len() => {}
            Some(known) => {
                *known = input.to_vec();
                self.inputs.push(input.to_vec());
            }
            None => {
                self.smallest.insert(shape, input.to_vec());
                self.inputs.push(input.to_vec());
            }
        }
    }

    /// Any input; the newest half more often than the older one.
    fn any(&self, draw: &mut Draw) -> &[u8] {
        let length = self.inputs.len();
        let start = length / 2 * draw.below(2);
        &self.inputs[start + draw.below(length - start)]
    }
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_nanos() as u64
}

fn name_of(input: &[u8]) -> String {
    // FNV-1a: only to distinguish the files of one folder.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", input.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Numbers that are the same for the same seed (splitmix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'t, T>(&mut self, choices: &'t [T]) -> &'t T {
        &choices[self.below(choices.len())]
    }
}

#[test]
fn the_corpora_are_small() {
    let mut total = 0;
    for folder in fs::read_dir("tests/fixtures/fuzz").unwrap() {
        let folder = folder.unwrap().path();
        let sizes = fs::read_dir(&folder).unwrap();
        let sizes: Vec<u64> = sizes
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        assert!(sizes.len() <= STORED_MAX + 20, "{}", folder.display());
        total += sizes.iter().sum::<u64>();
    }
    assert!(total <= 200_000, "{total} bytes");
}
