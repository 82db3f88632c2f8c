//! The kernels, each beside its plain scalar form. `swarm bench kernels` measures more, and both sides in turns.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use swarm_kernels::correlation::pearson_matrix;
use swarm_kernels::{Band, Lcss, Search, dtw};

#[path = "../src/bench/kernels/floor/dtw.rs"]
#[expect(dead_code, reason = "only a part of the control is measured here")]
mod dtw_floor;
#[path = "../src/bench/kernels/floor/lcss.rs"]
mod lcss_floor;
#[path = "../src/bench/kernels/floor/pearson.rs"]
#[expect(dead_code, reason = "only a part of the control is measured here")]
mod pearson_floor;
#[path = "../src/bench/kernels/samples.rs"]
#[expect(dead_code, reason = "everything is in double precision here")]
mod samples;
#[path = "../src/bench/kernels/floor/ucr_suite.rs"]
mod ucr_suite;

fn distance(criterion: &mut Criterion) {
    let series = samples::walks(100, 1000);
    for (name, half_width) in [("dtw_full", 1000), ("dtw_10_percent", 100)] {
        let mut group = short(criterion, name);
        let mut rows = dtw_floor::Rows::new(1000);
        let mut pairs = series.windows(2).cycle();
        let mut next = move || pairs.next().map_or((&[][..], &[][..]), |two| (&two[0][..], &two[1][..]));
        let mut next_floor = next.clone();
        group.bench_function("floor", |bencher| {
            bencher.iter(|| {
                let (a, b) = next_floor();
                rows.distance_squared(a, b, half_width)
            });
        });
        group.bench_function("swarm", |bencher| {
            bencher.iter(|| {
                let (a, b) = next();
                dtw::distance_squared(a, b, Band::Points(half_width))
            });
        });
        group.finish();
    }
}

fn lcss(criterion: &mut Criterion) {
    let series = samples::walks(12, 252);
    let mut group = short(criterion, "lcss_66_pairs");
    group.bench_function("floor", |bencher| {
        bencher.iter(|| {
            let pairs = series.iter().enumerate().flat_map(|(i, a)| series[..i].iter().map(move |b| (a, b)));
            pairs.map(|(a, b)| lcss_floor::matches(a, b, 0.25)).sum::<u32>()
        });
    });
    group.bench_function("swarm", |bencher| {
        bencher.iter(|| Lcss::new(0.25).and_then(|lcss| lcss.all_pairs(&series)));
    });
    group.finish();
}

fn pearson(criterion: &mut Criterion) {
    let series = samples::walks(100, 252);
    let mut group = short(criterion, "pearson_100_series");
    group.bench_function("floor", |bencher| bencher.iter(|| pearson_floor::matrix(black_box(&series))));
    group.bench_function("swarm", |bencher| bencher.iter(|| pearson_matrix(black_box(&series))));
    group.finish();
}

fn search(criterion: &mut Criterion) {
    let walks = samples::walks(2, 100_000);
    let (series, query) = (&walks[0], &walks[1][..128]);
    let mut group = short(criterion, "search_100_000_points");
    group.bench_function("floor", |bencher| {
        bencher.iter(|| ucr_suite::UcrSuite::new(query, 6).run(series));
    });
    group.bench_function("swarm", |bencher| {
        bencher.iter(|| Search::new(query, 6).and_then(|search| search.run(series)));
    });
    group.finish();
}

fn short<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group
}

criterion_group!(kernels, distance, lcss, pearson, search);
criterion_main!(kernels);
