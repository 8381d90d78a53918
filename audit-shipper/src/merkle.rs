//! The Merkle tree of RFC 6962 §2.1 and its C2SP tiles (<https://c2sp.org/tlog-tiles>). No I/O.

use crate::crypto::{Digest32, sha256};

/// Hashes in a full tile.
pub(crate) const TILE_WIDTH: usize = 256;

/// Hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
pub(crate) fn leaf_hash(leaf: &[u8]) -> Digest32 {
    sha256(&[&[0x00], leaf])
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
fn node_hash(left: &Digest32, right: &Digest32) -> Digest32 {
    sha256(&[&[0x01], left, right])
}

/// The right edge of a tree: the roots of its perfect subtrees, largest first. Enough to append and to give the root.
#[derive(Clone, Debug, Default)]
struct Frontier {
    size: u64,
    peaks: Vec<Digest32>,
}

impl Frontier {
    fn push(&mut self, hash: Digest32) {
        let mut hash = hash;
        let mut size = self.size;
        while size & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    fn root(&self) -> Digest32 {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Names a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileId {
    /// 0 for leaf hashes; a hash at level L+1 is the root of a full tile at level L.
    pub(crate) level: usize,
    /// Counted from 0.
    pub(crate) index: u64,
}

impl TileId {
    /// Path below the tiles directory: `0/x001/x234/067`, with `.p/5` behind it for a tile of 5 hashes.
    pub(crate) fn path(self, width: usize) -> String {
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
        format!("{}/{number}{partial}", self.level)
    }
}

/// A tree that hands out each tile as it becomes full.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    frontier: Frontier,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Default)]
struct Level {
    full_tiles: u64,
    hashes: Vec<Digest32>,
}

impl Tree {
    /// The tree of so many leaves, from its tiles: `tile` gives the first hashes of one. Whether they are the right ones only the
    /// root tells.
    ///
    /// # Errors
    /// That of `tile`. None if a tile is too short.
    pub(crate) fn from_tiles<E>(
        size: u64,
        mut tile: impl FnMut(TileId, usize) -> Result<Vec<Digest32>, E>,
    ) -> Result<Option<Self>, E> {
        let mut levels = Vec::new();
        let mut at_level = size;
        while at_level > 0 {
            let (full_tiles, width) = (at_level / TILE_WIDTH as u64, (at_level % TILE_WIDTH as u64) as usize);
            let id = TileId { level: levels.len(), index: full_tiles };
            let hashes = if width > 0 { tile(id, width)? } else { Vec::new() };
            if hashes.len() != width {
                return Ok(None);
            }
            levels.push(Level { full_tiles, hashes });
            at_level = full_tiles;
        }
        // The largest subtrees are the ones of the highest level; within a level, a hash for each set bit of its width.
        let mut peaks = Vec::new();
        for level in levels.iter().rev() {
            let mut rest = level.hashes.as_slice();
            for bit in (0..TILE_WIDTH.ilog2()).rev().filter(|bit| level.hashes.len() >> bit & 1 == 1) {
                let Some((subtree, behind)) = rest.split_at_checked(1 << bit) else { return Ok(None) };
                peaks.push(fold(subtree));
                rest = behind;
            }
        }
        Ok(Some(Self { frontier: Frontier { size, peaks }, levels }))
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size
    }

    pub(crate) fn root(&self) -> Digest32 {
        self.frontier.root()
    }

    /// Appends a leaf's hash; calls `full` for each tile that this fills.
    pub(crate) fn push(&mut self, hash: Digest32, mut full: impl FnMut(TileId, &[Digest32])) {
        self.frontier.push(hash);
        let mut hash = hash;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            let Some(at) = self.levels.get_mut(level) else {
                return;
            };
            at.hashes.push(hash);
            if at.hashes.len() < TILE_WIDTH {
                return;
            }
            full(TileId { level, index: at.full_tiles }, &at.hashes);
            let mut subtree = Frontier::default();
            at.hashes.drain(..).for_each(|hash| subtree.push(hash));
            at.full_tiles += 1;
            hash = subtree.root();
        }
    }

    /// The tiles at the right edge that are not full.
    pub(crate) fn partial_tiles(&self) -> impl Iterator<Item = (TileId, &[Digest32])> {
        self.levels.iter().enumerate().filter(|(_, level)| !level.hashes.is_empty()).map(|(number, level)| {
            let id = TileId { level: number, index: level.full_tiles };
            (id, level.hashes.as_slice())
        })
    }
}

/// Names a perfect subtree: 2^level leaves, the `index`-th of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId {
    pub(crate) level: u32,
    pub(crate) index: u64,
}

impl NodeId {
    /// The tile that holds the node's descendants (or itself), and where in it they begin and how many they are.
    pub(crate) fn in_tile(self) -> (TileId, usize, usize) {
        let below = self.level % 8;
        let first = self.index << below;
        let id = TileId { level: (self.level / 8) as usize, index: first / TILE_WIDTH as u64 };
        (id, (first % TILE_WIDTH as u64) as usize, 1 << below)
    }
}

/// Root of a perfect subtree from hashes of one level.
pub(crate) fn fold(hashes: &[Digest32]) -> Digest32 {
    let mut subtree = Frontier::default();
    hashes.iter().for_each(|hash| subtree.push(*hash));
    subtree.root()
}

/// The audit path of a leaf (RFC 6962 §2.1.1), nearest sibling first.
pub(crate) fn inclusion_path<E>(
    index: u64,
    size: u64,
    node: &mut impl FnMut(NodeId) -> Result<Digest32, E>,
) -> Result<Vec<Digest32>, E> {
    let (mut from, mut until, mut path) = (0, size, Vec::new());
    while until - from > 1 {
        let middle = from + split(until - from);
        if index < middle {
            path.push(range_root(middle, until, node)?);
            until = middle;
        } else {
            path.push(range_root(from, middle, node)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The root that a leaf's hash and its audit path lead to. None if the path has the wrong length.
pub(crate) fn root_of_path(leaf: Digest32, index: u64, size: u64, path: &[Digest32]) -> Option<Digest32> {
    // Which way each step went, from the leaf upwards.
    let (mut from, mut until, mut turns) = (0, size, Vec::new());
    while until - from > 1 {
        let middle = from + split(until - from);
        turns.push(index >= middle);
        if index < middle { until = middle } else { from = middle }
    }
    if turns.len() != path.len() || index >= size {
        return None;
    }
    let step = |hash, (right, sibling): (&bool, &Digest32)| {
        if *right { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
    };
    Some(turns.iter().rev().zip(path).fold(leaf, step))
}

/// The largest power of two below a number.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

fn range_root<E>(from: u64, until: u64, node: &mut impl FnMut(NodeId) -> Result<Digest32, E>) -> Result<Digest32, E> {
    let size = until - from;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return node(NodeId { level, index: from >> level });
    }
    let middle = from + split(size);
    Ok(node_hash(&range_root(from, middle, node)?, &range_root(middle, until, node)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// The leaves and roots of the reference tests of Certificate Transparency (RFC 6962).
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let mut tree = Tree::default();
        assert_eq!(hex::encode(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            tree.push(leaf_hash(&hex::decode(leaf).unwrap()), |_, _| {});
            assert_eq!(hex::encode(tree.root()), root, "size {}", tree.size());
        }
    }

    #[test]
    fn a_tree_comes_back_from_its_tiles() {
        let mut tree = Tree::default();
        for number in 0..70_000_u64 {
            if number < 1100 || number % 997 == 0 || (65_530..65_545).contains(&number) {
                let partial = |id: TileId| {
                    let mut partial = tree.partial_tiles().filter(|(own, _)| *own == id);
                    partial.next().map(|(_, hashes)| hashes.to_vec())
                };
                let read = |id: TileId, width| {
                    let hashes = partial(id).unwrap_or_default();
                    assert_eq!(hashes.len(), width);
                    Ok::<_, ()>(hashes)
                };
                let mut again = Tree::from_tiles(number, read).unwrap().unwrap();
                assert_eq!((again.size(), again.root()), (tree.size(), tree.root()));
                let mut grown = tree.clone();
                for tree in [&mut again, &mut grown] {
                    (0..300_u32).for_each(|more| tree.push(leaf_hash(&more.to_le_bytes()), |_, _| {}));
                }
                assert_eq!(again.root(), grown.root());
            }
            tree.push(leaf_hash(&number.to_le_bytes()), |_, _| {});
        }
        assert!(Tree::from_tiles(3, |_, _| Ok::<_, ()>(Vec::new())).unwrap().is_none());
    }

    #[test]
    fn tiles_carry_the_tree() {
        let mut tree = Tree::default();
        let mut full = Vec::new();
        for number in 0..70_000_u32 {
            tree.push(leaf_hash(&number.to_be_bytes()), |id, hashes| {
                full.push((id, hashes.to_vec()));
            });
        }
        // 70,000 = 273 × 256 + 112; 273 = 1 × 256 + 17.
        assert_eq!(full.iter().filter(|(id, _)| id.level == 0).count(), 273);
        assert_eq!(full.iter().filter(|(id, _)| id.level == 1).count(), 1);
        let partial: Vec<_> = tree.partial_tiles().map(|(id, hashes)| (id.level, id.index, hashes.len())).collect();
        assert_eq!(partial, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        // A level-1 hash is the root of the tile below it.
        let below = full.iter().find(|(id, _)| id.level == 0 && id.index == 3).unwrap();
        let above = full.iter().find(|(id, _)| id.level == 1).unwrap();
        let mut subtree = Tree::default();
        below.1.iter().for_each(|hash| subtree.push(*hash, |_, _| {}));
        assert_eq!(subtree.root(), above.1[3]);
    }

    #[test]
    fn every_path_leads_to_the_root_and_no_changed_one_does() {
        let leaves: Vec<Digest32> = (0..70_u32).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        for size in [1_u64, 2, 3, 7, 8, 9, 64, 70] {
            let leaves = &leaves[..size as usize];
            let root = fold(leaves);
            let mut node = |id: NodeId| {
                let first = (id.index << id.level) as usize;
                Ok::<_, ()>(fold(&leaves[first..first + (1 << id.level)]))
            };
            for (index, leaf) in (0..).zip(leaves) {
                let path = inclusion_path(index, size, &mut node).unwrap();
                assert_eq!(root_of_path(*leaf, index, size, &path), Some(root), "{index} of {size}");
                assert_ne!(root_of_path([9; 32], index, size, &path), Some(root));
                for position in 0..path.len() {
                    let mut changed = path.clone();
                    changed[position][0] ^= 1;
                    assert_ne!(root_of_path(*leaf, index, size, &changed), Some(root));
                }
                assert_eq!(root_of_path(*leaf, size, size, &path), None);
            }
        }
    }

    #[test]
    fn nodes_are_found_in_their_tiles() {
        let place = |level, index| {
            let (id, first, number) = NodeId { level, index }.in_tile();
            (id.level, id.index, first, number)
        };
        assert_eq!(place(0, 300), (0, 1, 44, 1));
        assert_eq!(place(3, 32), (0, 1, 0, 8));
        assert_eq!(place(8, 5), (1, 0, 5, 1));
    }

    #[test]
    fn tile_paths_are_those_of_c2sp() {
        let path = |level, index, width| TileId { level, index }.path(width);
        assert_eq!(path(0, 0, 256), "0/000");
        assert_eq!(path(0, 273, 112), "0/273.p/112");
        assert_eq!(path(3, 1_234_067, 256), "3/x001/x234/067");
    }
}
