//! How long predictions take: a million trials.

use criterion::{Criterion, criterion_group, criterion_main};
use dyno_claims::pbs::{Coordinator, Fit, Prediction, predict};

fn pbs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pbs");
    group.sample_size(10);
    for fit in Fit::ALL {
        let coordinator = Coordinator::Home;
        let what = Prediction { n: 3, r: 1, w: 1, fit, coordinator };
        group.bench_function(format!("{fit} 3/1/1, 10^6 trials"), |bencher| {
            bencher.iter(|| predict(&what, 1_000_000, 1));
        });
    }
    group.finish();
}

criterion_group!(benches, pbs);
criterion_main!(benches);
