//! Where candidates may begin: a superset of those places, made of what stands around digits, marks and long words.
//!
//! A place that is left out neither begins a candidate nor reads further than [`AHEAD`] bytes, so skipping it changes nothing, with one
//! exception: matches of [`SHORT`] need a context word and are looked for only within the reach of one.

use super::behind::BEHIND_MAX;
use super::bits::{BLOCK, Block, behind, blocks_of, runs};
use super::ids::iban_length;
use super::kinds::{ends_secret_name, is_filler};
use super::lexicon::{EVERY_WORD, Lexicon};
use super::set::{DetectorSet, KNOWN, SHORT};
use std::sync::LazyLock;

/// What is left out is ruled out by so many bytes; what is nearer to an end that may go on is never left out.
pub(super) const AHEAD: usize = 192;
/// Blocks that are marked together.
const SEGMENT: usize = 64;
/// Blocks behind them whose triggers mark places before themselves, and that those look ahead into.
const LOOK: usize = 3;
/// Bytes before `@` that may be its local part.
const LOCAL_PART: usize = 66;
/// Letters and digits in a row that may be a key, an address or a token.
const LONG_RUN: u32 = 14;
/// Letters before the digits of an identifier.
const LEAD_MAX: usize = 6;
/// Bytes between `:` or `=` and the value behind it.
const FILLER_MAX: usize = 8;
/// Context words that are kept apart.
const NEAR_MAX: usize = 32;
/// Places at the beginning, which what stands before it may mark.
const HEAD: u64 = (1 << 16) - 1;

/// The words of [`SHORT`].
static SHORT_WORDS: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::new(|detector| SHORT.has(detector)));

/// Marks places, segment by segment.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    blocks: Vec<Block>,
    /// Digits, with single separators between two of them.
    spans: Vec<u64>,
    hot: Vec<u64>,
}

/// What a text is searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Which detectors run.
    pub(super) set: &'a DetectorSet,
    /// What stood before the text, without what was masked.
    pub(super) behind: &'a [u8],
    /// The name of the JSON member that holds the text.
    pub(super) key: Option<&'a str>,
    /// Bytes that are masked by others than the detectors of the set.
    pub(super) masked: usize,
    /// Where those end.
    pub(super) masked_ends: &'a [usize],
    /// Places before this one are of no interest any more.
    pub(super) from: usize,
}

/// How far the context words reach that were met.
#[derive(Debug)]
pub(super) struct Reach {
    wanted: bool,
    everywhere: bool,
    until: usize,
    masked: usize,
    /// Detectors whose words are in the name of the member.
    in_key: DetectorSet,
    /// Whose words were met up to `read`, and from where on they are too far.
    near: Vec<(usize, DetectorSet)>,
    read: usize,
    /// The end of what candidates cover.
    covered: usize,
}

impl Reach {
    /// The reach of the words before a text, and of those right behind what others mask in it.
    fn new(text: &[u8], wanted: &Wanted<'_>) -> Self {
        let short = wanted.set.meets(&SHORT);
        let of_behind = short && SHORT_WORDS.occurs(wanted.behind);
        let named = EVERY_WORD.detectors_in(wanted.behind);
        let near = if named.is_empty() { Vec::new() } else { vec![(BEHIND_MAX + wanted.masked, named)] };
        let mut reach = Self {
            wanted: short,
            everywhere: short && wanted.key.is_some_and(|key| SHORT_WORDS.occurs(key.as_bytes())),
            until: if of_behind { BEHIND_MAX + wanted.masked } else { 0 },
            masked: wanted.masked,
            in_key: wanted.key.map_or_else(DetectorSet::default, |key| EVERY_WORD.detectors_in(key.as_bytes())),
            near,
            read: 0,
            covered: 0,
        };
        wanted.masked_ends.iter().for_each(|&end| reach.uncover(text, end));
        reach
    }

    /// The detectors of which a word may stand near before a place. Places come in order.
    pub(super) fn named(&mut self, text: &[u8], place: usize) -> DetectorSet {
        let reach = BEHIND_MAX + self.masked;
        let from = self.read.max(place.saturating_sub(reach));
        let near = &mut self.near;
        EVERY_WORD.each_name(text, from, place, |start, detectors| near.push((start + reach, detectors)));
        self.read = self.read.max(place);
        near.retain(|(until, _)| *until >= place);
        if near.len() > NEAR_MAX {
            // Too many to keep apart: one that reaches as far as the farthest.
            let until = near.iter().map(|(until, _)| *until).max().unwrap_or_default();
            let mut all = DetectorSet::default();
            near.drain(..).for_each(|(_, detectors)| all.insert_all(&detectors));
            near.push((until, all));
        }
        let mut named = self.in_key;
        near.iter().for_each(|(_, detectors)| named.insert_all(detectors));
        named
    }

    fn meet(&mut self, place: usize) {
        self.until = self.until.max(place + BEHIND_MAX + self.masked);
    }

    /// What ends here may be masked: a word that is glued to it then stands alone.
    fn uncover(&mut self, text: &[u8], end: usize) {
        let reach = BEHIND_MAX + self.masked;
        let near = &mut self.near;
        EVERY_WORD.each_name(text, end, end + 1, |start, detectors| near.push((start + reach, detectors)));
        if self.wanted && (SHORT_WORDS.begins(text, end) || SHORT_WORDS.begins_foreign(text, end)) {
            self.meet(end);
        }
    }

    /// Candidates were found: if they are masked, they take no place between a word and a value.
    pub(super) fn stretch(&mut self, text: &[u8], start: usize, ends: impl Iterator<Item = usize>) {
        // The words before it have to be known: it stretches their reach.
        self.named(text, start);
        let mut end = start;
        for each in ends {
            self.uncover(text, each);
            end = end.max(each);
        }
        let bytes = end.saturating_sub(self.covered.max(start));
        self.covered = self.covered.max(end);
        if self.until > start {
            self.until += bytes;
        }
        self.near.iter_mut().for_each(|(until, _)| *until += bytes);
    }
}

impl Triggers {
    /// Calls `visit` with each marked place below `limit` in order, until it returns something.
    pub(super) fn each<T>(
        &mut self,
        text: &[u8],
        limit: usize,
        wanted: &Wanted<'_>,
        mut visit: impl FnMut(usize, &mut Reach) -> Option<T>,
    ) -> Option<T> {
        let mut reach = Reach::new(text, wanted);
        let mut before = Block::default();
        if reach.wanted {
            let from = wanted.from.saturating_sub(BEHIND_MAX + wanted.masked);
            SHORT_WORDS.each_name(text, from, wanted.from, |place, _| reach.meet(place));
        }
        for start in (wanted.from..limit).step_by(SEGMENT * BLOCK) {
            let last = self.mark(text, start, before, wanted);
            for number in 0..SEGMENT {
                let base = start + number * BLOCK;
                if base >= limit {
                    break;
                }
                let block = self.block(number);
                let previous = if number == 0 { &before } else { self.block(number - 1) };
                let mut hot = self.hot.get(number).copied().unwrap_or_default();
                if reach.wanted {
                    hot |= Self::near_words(text, base, block, previous, &mut reach);
                }
                while hot != 0 {
                    let place = base + hot.trailing_zeros() as usize;
                    hot &= hot - 1;
                    if place >= limit {
                        break;
                    }
                    let was_far = reach.until <= base;
                    if let Some(found) = visit(place, &mut reach) {
                        return Some(found);
                    }
                    if was_far && reach.until > base {
                        // A word right behind what was found.
                        hot |= boundaries(block, previous) & (u64::MAX << (place - base) << 1);
                    }
                }
            }
            before = last;
        }
        None
    }

    /// The places of a block within the reach of a word.
    fn near_words(text: &[u8], base: usize, block: &Block, before: &Block, reach: &mut Reach) -> u64 {
        let mut words = block.word_starts(before);
        while words != 0 {
            let place = base + words.trailing_zeros() as usize;
            words &= words - 1;
            if SHORT_WORDS.begins(text, place) {
                reach.meet(place);
            }
        }
        let mut foreign = block.foreign;
        while foreign != 0 {
            let place = base + foreign.trailing_zeros() as usize;
            foreign &= foreign - 1;
            if SHORT_WORDS.begins_foreign(text, place) {
                reach.meet(place);
            }
        }
        if reach.everywhere || reach.until > base { boundaries(block, before) } else { 0 }
    }

    fn block(&self, number: usize) -> &Block {
        self.blocks.get(number).unwrap_or(&NO_BLOCK)
    }

    /// Marks the places of one segment; `before` is the block before it. Gives back its last block.
    fn mark(&mut self, text: &[u8], start: usize, before: Block, wanted: &Wanted<'_>) -> Block {
        let rest = text.get(start..).unwrap_or_default();
        let rest = rest.get(..(SEGMENT + LOOK) * BLOCK).unwrap_or(rest);
        blocks_of(rest, &mut self.blocks);
        self.spans.clear();
        let mut previous = before.digit;
        for (number, block) in self.blocks.iter().enumerate() {
            let ahead = block.digit >> 1 | self.block(number + 1).digit << 63;
            self.spans.push(block.digit | block.separator & behind(block.digit, previous) & ahead);
            previous = block.digit;
        }
        // What the segment before marked beyond its end.
        let mut carried = [0; LOOK];
        if start > wanted.from {
            carried.iter_mut().zip(self.hot.iter().skip(SEGMENT)).for_each(|(slot, hot)| *slot = *hot);
        } else if let Some(first) = carried.first_mut() {
            *first = HEAD;
        }
        self.hot.clear();
        self.hot.resize(self.blocks.len(), 0);
        self.hot.iter_mut().zip(carried).for_each(|(hot, carried)| *hot |= carried);
        let Self { blocks, spans, hot } = self;
        let mut marks = Marks { text, start, set: wanted.set, blocks, spans, hot };
        let mut previous = &before;
        for (number, block) in blocks.iter().enumerate() {
            marks.mark_block(number, block, previous);
            previous = block;
        }
        *self.block(SEGMENT - 1)
    }
}

/// No bytes.
static NO_BLOCK: Block = Block::NONE;

/// The places of a segment that begins at `start`.
struct Marks<'a> {
    text: &'a [u8],
    start: usize,
    set: &'a DetectorSet,
    blocks: &'a [Block],
    spans: &'a [u64],
    hot: &'a mut [u64],
}

impl Marks<'_> {
    fn mark_block(&mut self, number: usize, block: &Block, before: &Block) {
        let next = self.blocks.get(number + 1).unwrap_or(&NO_BLOCK);
        let base = self.start + number * BLOCK;
        let long = runs(block.long, next.long, LONG_RUN);
        if long != 0
            && let Some(hot) = self.hot.get_mut(number)
        {
            *hot |= long & boundaries(block, before);
        }
        let mut numbers = block.digit & !behind(block.digit, before.digit);
        if numbers != 0 {
            let (now, ahead) = (self.span(number), self.span(number + 1));
            let (four, seven) = (runs(now, ahead, 4), runs(now, ahead, 7));
            numbers &= telling(block, before, next, four);
            while numbers != 0 {
                let bit = numbers.trailing_zeros();
                numbers &= numbers - 1;
                self.mark_number(base + bit as usize, seven >> bit & 1 == 1);
            }
        }
        let mut strong = block.strong;
        while strong != 0 {
            let place = base + strong.trailing_zeros() as usize;
            strong &= strong - 1;
            self.mark_strong(place);
        }
        self.mark_key_line(number, block, before);
        // `Basic `, whose value is short.
        let c = block.letter_c << 2 | before.letter_c >> 62;
        let mut behind_c = c & block.long & !behind(block.long, before.long);
        while behind_c != 0 {
            let place = base + behind_c.trailing_zeros() as usize;
            behind_c &= behind_c - 1;
            let word = place.checked_sub(6).and_then(|from| self.text.get(from..place));
            if word.is_none_or(|word| word.eq_ignore_ascii_case(b"basic ")) {
                self.put(place);
            }
        }
    }

    fn span(&self, number: usize) -> u64 {
        self.spans.get(number).copied().unwrap_or_default()
    }

    /// `-----BEGIN`, of which the text before and behind it says nothing.
    fn mark_key_line(&mut self, number: usize, block: &Block, before: &Block) {
        let (text, next) = (self.text, self.blocks.get(number + 1).unwrap_or(&NO_BLOCK));
        // A run from before a segment begins anew in it.
        let before = if number == 0 { 0 } else { before.separator };
        let mut five = runs(block.separator, next.separator, 5) & !behind(block.separator, before);
        while five != 0 {
            let place = self.start + number * BLOCK + five.trailing_zeros() as usize;
            five &= five - 1;
            // A run that goes on beyond the segment begins anew in the next.
            let rest = text.get(place..).unwrap_or_default().iter().take((SEGMENT + LOOK) * BLOCK);
            let run = rest.take_while(|&&byte| is_separator(byte)).count();
            let begin = place + run;
            if text.get(begin - 5..begin) == Some(b"-----") && text.get(begin).is_some_and(|byte| byte | 0x20 == b'b') {
                self.put(begin - 5);
            }
        }
    }

    /// What may begin at a number, or at what stands before it.
    fn mark_number(&mut self, place: usize, seven: bool) {
        let text = self.text;
        let at = |place: usize| text.get(place).copied().unwrap_or_default();
        let digits = self.window(place, |number| self.blocks.get(number).map_or(0, |block| block.digit));
        let lead = (!digits).trailing_zeros() as usize;
        let span = self.window(place, |number| self.span(number));
        let fraction = digits.checked_shr(lead as u32 + 1).unwrap_or_default() & 0xf == 0xf;
        if seven || lead >= 5 || fraction || at(place + lead).is_ascii_alphabetic() {
            self.put(place);
        }
        let back = |steps: usize| place.checked_sub(steps).map_or(0, at);
        match back(1) {
            b'-' if !fraction => {}
            b'+' | b'-' | b'(' | b';' => {
                self.put(place - 1);
                if back(2) == b'+' {
                    self.put(place - 2);
                }
                // `0 (532) 1234567`
                if back(1) == b'(' && back(2) == b'0' {
                    self.put(place - 2);
                } else if back(1) == b'(' && back(2) == b' ' && back(3) == b'0' {
                    self.put(place - 3);
                }
            }
            b' ' if back(2) == b'+' => self.put(place - 2),
            _ => {}
        }
        // Letters before it, perhaps with a separator between.
        let gap = usize::from(!back(1).is_ascii_alphabetic() && is_separator(back(1)));
        let letters = (1..=LEAD_MAX + 1).take_while(|step| back(gap + step).is_ascii_alphabetic()).count();
        if letters == 0 || letters > LEAD_MAX {
            return;
        }
        let first = place - gap - letters;
        let enough = span & 0xf == 0xf;
        let account =
            letters == 2 && iban_length([at(first).to_ascii_uppercase(), at(first + 1).to_ascii_uppercase()]).is_some();
        let postcode = gap == 0 && self.set.has(KNOWN.uk_postcode);
        if enough || account || postcode {
            self.put(first);
        }
    }

    /// What may begin around one of `@`, `:`, `=`, `%`.
    fn mark_strong(&mut self, place: usize) {
        let text = self.text;
        let at = |place: usize| text.get(place).copied().unwrap_or_default();
        match at(place) {
            b'@' => {
                let local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+'-".contains(byte) || !byte.is_ascii();
                let before = text.get(..place).unwrap_or_default();
                let length = before.iter().rev().take(LOCAL_PART).take_while(|byte| local(byte)).count();
                (place - length..place).for_each(|place| self.put(place));
            }
            b'%' if at(place + 1).eq_ignore_ascii_case(&b'b') => self.put(place),
            b'%' => {}
            mark => {
                if mark == b':' {
                    let groups = text.get(..place).unwrap_or_default().iter().rev();
                    let length = groups.take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
                    (place - length..place).for_each(|place| self.put(place));
                    if at(place + 1) == b':' {
                        self.put(place);
                    }
                    if text.get(place..place + 3) == Some(b"://") {
                        self.put(place + 3);
                    }
                }
                self.mark_value(place);
            }
        }
    }

    /// The value behind `:` or `=`, if a name of secrets may stand before it.
    fn mark_value(&mut self, mark: usize) {
        let text = self.text;
        let behind = text.get(mark..).unwrap_or_default();
        let filler = behind.iter().take(FILLER_MAX).take_while(|&&byte| is_filler(byte)).count();
        let before = text.get(..mark).unwrap_or_default();
        let name = before.iter().rev().take(FILLER_MAX).find(|&&byte| !is_filler(byte));
        if name.is_none_or(|&last| ends_secret_name(last)) {
            self.put(mark + filler);
        }
    }

    /// The bits from a place on, of blocks by number.
    fn window(&self, place: usize, of: impl Fn(usize) -> u64) -> u64 {
        let (number, bit) = ((place - self.start) / BLOCK, (place - self.start) % BLOCK);
        let low = of(number) >> bit;
        if bit == 0 { low } else { low | of(number + 1) << (BLOCK - bit) }
    }

    /// Marks a place, if it is in this segment.
    #[inline]
    fn put(&mut self, place: usize) {
        let Some(offset) = place.checked_sub(self.start) else {
            return;
        };
        if let Some(hot) = self.hot.get_mut(offset / BLOCK) {
            *hot |= 1 << (offset % BLOCK);
        }
    }
}

/// Where a number may be a part of something: with four digits or separators, or glued to something, or behind a separator with two letters
/// or a mark before it.
fn telling(block: &Block, before: &Block, next: &Block, four: u64) -> u64 {
    let glued_behind = block.digit & (block.letter >> 1 | next.letter << 63);
    if glued_behind != 0 {
        return u64::MAX;
    }
    let letters = |steps: u32| block.letter << steps | before.letter >> (64 - steps);
    let mark = |block: &Block| block.long & !block.letter & !block.digit;
    let pair = letters(2) & letters(3) & !letters(4);
    let marked = mark(block) << 2 | mark(before) >> 62;
    four | !behind(block.separator, before.separator) | pair | marked
}

fn is_separator(byte: u8) -> bool {
    super::ids::separator(byte) != 0
}

/// Where the class changes, see [`super::classes::is_boundary`]; too many at the beginning of a text.
fn boundaries(block: &Block, before: &Block) -> u64 {
    !(block.digit & behind(block.digit, before.digit) | block.letter & behind(block.letter, before.letter))
}
