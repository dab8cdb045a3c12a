//! Bins of a number's distribution, cut at the quantiles of a reference.

use crate::cells::Cells;

/// The inner edges of at most `bins` bins of about equal counts, ascending. Bin i holds `edges[i-1] <= x < edges[i]`.
///
/// `values` are finite, in any order. A value that is more frequent than a bin's share gets a bin of its own, so no
/// two edges are the same and no bin is empty on `values`. Where all values are the same, the bins are: below it, it,
/// above it. Without values, or with `bins < 2`, there are no edges.
pub fn edges(values: &[f64], bins: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        return Vec::new();
    };
    if bins < 2 {
        return Vec::new();
    }
    if first >= last {
        return vec![*first, first.next_up()];
    }
    let mut edges = Vec::new();
    // Bin k ends at the first new value after k/bins of the rows; and before one that is as frequent as a bin.
    let (mut bin, mut seen) = (1, 0);
    for same in sorted.chunk_by(|one, next| one >= next) {
        let is_frequent = same.len() * bins >= sorted.len();
        if seen > 0 && (is_frequent || seen * bins >= bin * sorted.len()) {
            edges.push(same[0]);
            bin = seen * bins / sorted.len() + 1;
        }
        seen += same.len();
    }
    edges
}

/// The edges of at most `bins` bins of about equal counts, as [`edges`] has them, and the counts in these bins: of numbers
/// that were counted in cells, after [`Cells::settle`]. An edge is where a cell begins; the counts are exact where there are
/// no more numbers than cells, else to the size of a cell.
pub fn of_cells(cells: &Cells<u64>, bins: usize) -> (Vec<f64>, Vec<u64>) {
    let rows: u64 = cells.all().sum();
    let first = cells.starts().next();
    let (Some(first), true) = (first, bins >= 2) else {
        return (Vec::new(), vec![rows]);
    };
    if cells.count() == 1 {
        return (vec![first, first.next_up()], vec![0, rows, 0]);
    }
    let (bins, mut bin, mut seen) = (bins as u64, 1, 0);
    let (mut edges, mut counts) = (Vec::new(), vec![0]);
    for (start, count) in cells.starts().zip(cells.all()) {
        // What is as frequent as a bin begins one, whatever is below it.
        let is_frequent = count * bins >= rows;
        if seen > 0 && (is_frequent || seen * bins >= bin * rows) {
            edges.push(start);
            counts.push(0);
            bin = seen * bins / rows + 1;
        }
        seen += count;
        *counts.last_mut().expect("one more than edges") += count;
    }
    (edges, counts)
}

/// The bin of a value: the count of edges that it reaches.
pub fn bin(edges: &[f64], value: f64) -> usize {
    edges.partition_point(|edge| *edge <= value)
}

/// How many values lie in each bin; one longer than the edges.
pub fn counts(edges: &[f64], values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    values
        .into_iter()
        .for_each(|value| counts[bin(edges, value)] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_distinct_values_hold_the_same() {
        let values: Vec<f64> = (0..1000).rev().map(f64::from).collect();
        let edges = edges(&values, 10);
        assert_eq!(
            edges,
            (1..10).map(|k| f64::from(k * 100)).collect::<Vec<_>>()
        );
        assert_eq!(counts(&edges, values), [100; 10]);
    }

    #[test]
    fn a_frequent_value_has_a_bin_of_its_own() {
        let mut values = vec![0.0; 95];
        values.extend([0.1, 0.2, 0.3, 0.4, 0.5]);
        let edges = edges(&values, 10);
        assert_eq!(edges, [0.1]);
        assert_eq!(counts(&edges, values), [95, 5]);
    }

    #[test]
    fn a_value_as_frequent_as_a_bin_begins_one_whatever_is_below() {
        let mut values = vec![0.0; 5];
        values.extend([1.0; 95]);
        let edges = edges(&values, 10);
        assert_eq!(counts(&edges, values), [5, 95]);
    }

    #[test]
    fn a_constant_has_a_bin_on_either_side() {
        let edges = edges(&[3.0; 7], 10);
        assert_eq!(counts(&edges, [3.0, 3.0, 2.9, 3.1]), [1, 2, 1]);
    }

    #[test]
    fn cells_make_the_same_bins_as_the_values_do() {
        let mut random = crate::random::Random::new(5);
        let normal: Vec<f64> = (0..3000).map(|_| random.normal()).collect();
        let tied: Vec<f64> = normal.iter().map(|value| (value * 3.0).round()).collect();
        for values in [&normal, &tied, &vec![3.0; 7], &vec![1.0, 2.0], &Vec::new()] {
            let mut cells = Cells::new(4096);
            for value in values {
                cells.add(*value, 1);
            }
            cells.settle();
            let edges = edges(values, 10);
            let counts = counts(&edges, values.iter().copied());
            assert_eq!(of_cells(&cells, 10), (edges, counts));
        }
        // Of fewer cells than there are values, bins are about as large as each other still.
        let mut cells = Cells::new(500);
        for value in &normal {
            cells.add(*value, 1);
        }
        cells.settle();
        let (edges, found) = of_cells(&cells, 10);
        for (found, exact) in found.iter().zip(counts(&edges, normal)) {
            assert!(found.abs_diff(exact) <= 12, "{found} {exact}");
        }
        assert!(
            found.iter().all(|count| (200..400).contains(count)),
            "{found:?}"
        );
    }

    #[test]
    fn few_values_make_few_bins() {
        assert_eq!(edges(&[1.0, 2.0, 3.0], 10), [2.0, 3.0]);
        assert_eq!(edges(&[], 10), Vec::<f64>::new());
    }
}
