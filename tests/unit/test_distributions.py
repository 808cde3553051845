"""Every distribution and transform of PyTorch is a container of its tensors."""

import copy

import pytest
import torch
from torch import distributions as d
from torch import nn

from unfussy import auto_device, returns, tree_leaves, tree_map, tree_paths

pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")

LOW, HIGH = torch.tensor([0.5, 0.25]), torch.tensor([2.0, 1.5])
TALL = torch.tensor([1.25, 2.5])
PROBS = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
SPREAD = torch.tensor([[2.0, 0.0], [0.5, 1.0]])
COVARIANCE = SPREAD @ SPREAD.T
TEMPERATURE = torch.tensor(0.7)


class OnMeta(nn.Linear):
    def __init__(self):
        super().__init__(1, 1, device="meta")

    @auto_device
    def moved(self, x):
        return x


class InPlace(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

    @auto_device
    def moved(self, x):
        return x

    @returns("numpy")
    def arrays(self, x):
        return x


def flow(**kw):
    parts = [
        d.AffineTransform(LOW, HIGH),
        d.ExpTransform(),
        d.AffineTransform(0, 2).inv,
    ]
    return d.TransformedDistribution(d.Normal(LOW, HIGH), parts, **kw)


def mixture(**kw):
    components = d.Independent(d.Normal(PROBS[..., None], PROBS[..., None] + 1), 1)
    return d.MixtureSameFamily(d.Categorical(PROBS), components, **kw)


# Called with `validate_args`; more than one way where a class has more than one.
DISTRIBUTIONS = {
    "Bernoulli": lambda **kw: d.Bernoulli(LOW, **kw),
    "Bernoulli of logits": lambda **kw: d.Bernoulli(logits=LOW, **kw),
    "Beta": lambda **kw: d.Beta(LOW, HIGH, **kw),
    "Binomial": lambda **kw: d.Binomial(3, LOW, **kw),
    "Binomial of logits": lambda **kw: d.Binomial(3, logits=LOW, **kw),
    "Categorical": lambda **kw: d.Categorical(PROBS, **kw),
    "Categorical of logits": lambda **kw: d.Categorical(logits=PROBS, **kw),
    "Cauchy": lambda **kw: d.Cauchy(LOW, HIGH, **kw),
    "Chi2": lambda **kw: d.Chi2(HIGH, **kw),
    "ContinuousBernoulli": lambda **kw: d.ContinuousBernoulli(LOW, **kw),
    "Dirichlet": lambda **kw: d.Dirichlet(PROBS, **kw),
    "Exponential": lambda **kw: d.Exponential(HIGH, **kw),
    "FisherSnedecor": lambda **kw: d.FisherSnedecor(LOW, HIGH, **kw),
    "Gamma": lambda **kw: d.Gamma(LOW, HIGH, **kw),
    "GeneralizedPareto": lambda **kw: d.GeneralizedPareto(LOW, HIGH, LOW, **kw),
    "Geometric": lambda **kw: d.Geometric(LOW, **kw),
    "Gumbel": lambda **kw: d.Gumbel(LOW, HIGH, **kw),
    "HalfCauchy": lambda **kw: d.HalfCauchy(HIGH, **kw),
    "HalfNormal": lambda **kw: d.HalfNormal(HIGH, **kw),
    "Independent": lambda **kw: d.Independent(d.Normal(LOW, HIGH), 1, **kw),
    "InverseGamma": lambda **kw: d.InverseGamma(LOW, HIGH, **kw),
    "Kumaraswamy": lambda **kw: d.Kumaraswamy(LOW, HIGH, **kw),
    "LKJCholesky": lambda **kw: d.LKJCholesky(3, TEMPERATURE, **kw),
    "Laplace": lambda **kw: d.Laplace(LOW, HIGH, **kw),
    "LogNormal": lambda **kw: d.LogNormal(LOW, HIGH, **kw),
    "LogisticNormal": lambda **kw: d.LogisticNormal(LOW, HIGH, **kw),
    "LowRankMultivariateNormal": lambda **kw: d.LowRankMultivariateNormal(
        LOW, SPREAD[:, :1], HIGH, **kw
    ),
    "MixtureSameFamily": mixture,
    "Multinomial": lambda **kw: d.Multinomial(4, PROBS, **kw),
    "MultivariateNormal": lambda **kw: d.MultivariateNormal(LOW, COVARIANCE, **kw),
    "MultivariateNormal of precision": lambda **kw: d.MultivariateNormal(
        LOW, precision_matrix=COVARIANCE, **kw
    ),
    "MultivariateNormal of scale": lambda **kw: d.MultivariateNormal(
        LOW, scale_tril=SPREAD, **kw
    ),
    "NegativeBinomial": lambda **kw: d.NegativeBinomial(3, LOW, **kw),
    "Normal": lambda **kw: d.Normal(LOW, HIGH, **kw),
    "OneHotCategorical": lambda **kw: d.OneHotCategorical(PROBS, **kw),
    "OneHotCategoricalStraightThrough": lambda **kw: d.OneHotCategoricalStraightThrough(
        PROBS, **kw
    ),
    "Pareto": lambda **kw: d.Pareto(LOW, HIGH, **kw),
    "Poisson": lambda **kw: d.Poisson(HIGH, **kw),
    "RelaxedBernoulli": lambda **kw: d.RelaxedBernoulli(TEMPERATURE, LOW, **kw),
    "RelaxedOneHotCategorical": lambda **kw: d.RelaxedOneHotCategorical(
        TEMPERATURE, PROBS, **kw
    ),
    "StudentT": lambda **kw: d.StudentT(HIGH, LOW, HIGH, **kw),
    "TransformedDistribution": flow,
    "Uniform": lambda **kw: d.Uniform(LOW, TALL + 1, **kw),
    "VonMises": lambda **kw: d.VonMises(LOW, HIGH, **kw),
    "Weibull": lambda **kw: d.Weibull(LOW, HIGH, **kw),
    "Wishart": lambda **kw: d.Wishart(torch.tensor(3.0), COVARIANCE, **kw),
    "Wishart of precision": lambda **kw: d.Wishart(
        torch.tensor(3.0), precision_matrix=COVARIANCE, **kw
    ),
    "Wishart of scale": lambda **kw: d.Wishart(
        torch.tensor(3.0), scale_tril=SPREAD, **kw
    ),
}
every_distribution = pytest.mark.parametrize(
    "make", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys()
)
each_validation = pytest.mark.parametrize("validate", [True, False, None])


def computed(distribution):
    """Return *distribution* after all that it computes when asked was asked for."""
    for name in dir(type(distribution)):
        try:
            getattr(distribution, name)
        except (NotImplementedError, ValueError, AttributeError):
            continue  # some have no mean, mode or support
    seeded_sample(distribution)
    return distribution


def seeded_sample(distribution):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return distribution.sample()


def held_tensors(held, seen):
    """Yield every tensor that an object of PyTorch holds, however it holds it."""
    if id(held) in seen:
        return
    seen.append(id(held))
    if isinstance(held, torch.Tensor):
        yield held
    named = dict(enumerate(held)) if isinstance(held, (list, tuple)) else vars(held)
    for name, part in named.items():
        if name == "_cached_x_y":
            continue
        if isinstance(part, (torch.Tensor, list, tuple, d.Distribution, d.Transform)):
            yield from held_tensors(part, seen)


def test_there_is_one_of_every_class():
    made = {type(make()) for make in DISTRIBUTIONS.values()}

    public = [value for name, value in vars(d).items() if name in d.__all__]
    classes = {
        x for x in public if isinstance(x, type) and issubclass(x, d.Distribution)
    }
    assert classes - made == {d.Distribution, d.ExponentialFamily}


@each_validation
@every_distribution
def test_a_copy_gives_the_same_numbers(make, validate):
    distribution = make(validate_args=validate)
    sample = seeded_sample(distribution)

    mapped = tree_map(torch.clone, distribution)

    assert type(mapped) is type(distribution)
    assert torch.equal(mapped.log_prob(sample), distribution.log_prob(sample))
    assert torch.equal(seeded_sample(mapped), sample)
    assert mapped.batch_shape == distribution.batch_shape
    assert mapped.event_shape == distribution.event_shape
    assert mapped._validate_args == distribution._validate_args


@every_distribution
def test_a_copy_gives_the_same_numbers_after_everything_was_computed(make):
    distribution = computed(make())
    sample = seeded_sample(distribution)

    mapped = tree_map(torch.clone, distribution)

    assert torch.equal(mapped.log_prob(sample), distribution.log_prob(sample))
    assert torch.equal(seeded_sample(mapped), sample)


@every_distribution
def test_a_copy_shares_no_tensor_with_the_distribution(make):
    distribution = computed(make())
    before = {x.data_ptr() for x in held_tensors(distribution, [])}

    mapped = tree_map(torch.clone, distribution)

    assert before.isdisjoint(x.data_ptr() for x in held_tensors(mapped, []))
    assert before == {x.data_ptr() for x in held_tensors(distribution, [])}


@pytest.mark.parametrize(
    "make",
    # PyTorch's generalised Pareto compares its parameters with a float.
    [make for name, make in DISTRIBUTIONS.items() if name != "GeneralizedPareto"],
    ids=[name for name in DISTRIBUTIONS if name != "GeneralizedPareto"],
)
def test_a_copy_in_doubles_computes_in_doubles(make):
    distribution = computed(make(validate_args=False))
    sample = seeded_sample(distribution)

    doubled = tree_map(torch.Tensor.double, distribution)

    expected = distribution.log_prob(sample).double()
    torch.testing.assert_close(
        doubled.log_prob(sample.double()), expected, rtol=1e-4, atol=1e-4
    )


@every_distribution
def test_every_tensor_of_a_distribution_moves(make):
    distribution = computed(make())

    moved = OnMeta().moved({"posterior": [distribution]})["posterior"][0]

    assert type(moved) is type(distribution)
    assert all(x.is_meta for x in held_tensors(moved, []))
    assert all(x.is_cpu for x in held_tensors(distribution, []))


@every_distribution
def test_a_distribution_in_place_is_the_methods_own(make):
    distribution = computed(make())

    assert InPlace().moved(distribution) is distribution
    assert tree_map(lambda x: x, distribution) is distribution


@every_distribution
def test_a_distribution_among_arrays_stays_one_without_gradients(make):
    distribution = make()
    sample = seeded_sample(distribution)
    learnt = tree_map(
        lambda x: x.clone().requires_grad_() if x.is_floating_point() else x,
        distribution,
    )

    result = InPlace().arrays(learnt)

    assert type(result) is type(distribution)
    assert not result.log_prob(sample).requires_grad
    assert torch.equal(result.log_prob(sample), distribution.log_prob(sample))


@every_distribution
def test_every_leaf_of_a_distribution_is_a_tensor_at_its_path(make):
    distribution = computed(make())

    for path, leaf in tree_paths(distribution):
        assert isinstance(leaf, torch.Tensor)
        assert eval(f"distribution{path}") is leaf  # noqa: S307


def test_parameters_are_what_a_distribution_of_two_parameters_holds():
    assert dict(tree_paths(d.Normal(LOW, HIGH))) == {".loc": LOW, ".scale": HIGH}


def test_what_a_distribution_computes_in_private_is_computed_again():
    distribution = d.VonMises(LOW, HIGH)
    seeded_sample(distribution)  # in doubles, which would lose digits when moved
    assert "_proposal_r" in vars(distribution)

    mapped = tree_map(torch.clone, distribution)

    assert "_proposal_r" not in vars(mapped)
    assert [path for path, _ in tree_paths(distribution)] == [".loc", ".concentration"]


# --- transforms --------------------------------------------------------------------

SQUARE = torch.tensor([[0.5, 0.1], [0.2, 0.6]])
TRANSFORMS = {
    "AbsTransform": (d.AbsTransform, LOW),
    "AffineTransform": (lambda **kw: d.AffineTransform(LOW, HIGH, **kw), LOW),
    "CatTransform": (
        lambda **kw: d.CatTransform(
            [d.AffineTransform(LOW[:1], HIGH[:1]), d.ExpTransform()], -1, [1, 1], **kw
        ),
        LOW,
    ),
    "ComposeTransform": (
        lambda **kw: d.ComposeTransform(
            [d.AffineTransform(LOW, HIGH), d.ExpTransform().inv.inv], **kw
        ),
        LOW,
    ),
    "CorrCholeskyTransform": (d.CorrCholeskyTransform, TALL[:1]),
    "CumulativeDistributionTransform": (
        lambda **kw: d.CumulativeDistributionTransform(d.Normal(LOW, HIGH), **kw),
        LOW,
    ),
    "ExpTransform": (d.ExpTransform, LOW),
    "IndependentTransform": (
        lambda **kw: d.IndependentTransform(d.AffineTransform(LOW, HIGH), 1, **kw),
        LOW,
    ),
    "LowerCholeskyTransform": (d.LowerCholeskyTransform, SQUARE),
    "PositiveDefiniteTransform": (d.PositiveDefiniteTransform, SQUARE),
    "PowerTransform": (lambda **kw: d.PowerTransform(HIGH, **kw), LOW),
    "ReshapeTransform": (lambda **kw: d.ReshapeTransform((2,), (2, 1), **kw), LOW),
    "SigmoidTransform": (d.SigmoidTransform, LOW),
    "SoftmaxTransform": (d.SoftmaxTransform, LOW),
    "SoftplusTransform": (d.SoftplusTransform, LOW),
    "StackTransform": (
        lambda **kw: d.StackTransform(
            [d.AffineTransform(LOW[0], HIGH[0]), d.ExpTransform()], -1, **kw
        ),
        LOW,
    ),
    "StickBreakingTransform": (d.StickBreakingTransform, LOW),
    "TanhTransform": (d.TanhTransform, LOW),
}
every_transform = pytest.mark.parametrize(
    ("make", "x"), TRANSFORMS.values(), ids=TRANSFORMS.keys()
)


def test_there_is_one_of_every_transform():
    classes = {name for name in d.__all__ if name.endswith("Transform")}

    assert classes - {"Transform"} == set(TRANSFORMS)


@pytest.mark.parametrize("cache_size", [0, 1])
@every_transform
def test_a_copied_transform_and_its_inverse_give_the_same_numbers(make, x, cache_size):
    transform = make(cache_size=cache_size)
    y = transform(x)
    back = transform.inv(y)

    mapped = tree_map(torch.clone, [transform, transform.inv])

    assert [type(t) for t in mapped] == [type(transform), type(transform.inv)]
    assert torch.equal(mapped[0](x), y)
    torch.testing.assert_close(mapped[0].inv(y), back)
    torch.testing.assert_close(mapped[1](y), back)
    assert mapped[1].inv(x).equal(y)


@every_transform
def test_a_transform_holds_nothing_that_does_not_move(make, x):
    transform = make(cache_size=1)
    transform.inv(transform(x))

    moved = OnMeta().moved([transform.inv, transform])

    for old, new in zip([transform.inv, transform], moved):
        assert new is old or all(x.is_meta for x in held_tensors(new, []))


def test_a_changed_transform_forgets_what_it_cached():
    transform = d.AffineTransform(LOW, HIGH, cache_size=1)
    y = transform(LOW)

    moved = OnMeta().moved(transform)

    assert transform._cached_x_y[1] is y
    assert moved._cached_x_y == (None, None)


def test_a_transform_that_holds_no_tensor_comes_back_as_it_is():
    transform = d.ExpTransform()
    transform.inv(transform(LOW))

    assert OnMeta().moved([transform])[0] is transform


def test_a_distribution_of_another_package_is_a_container_too():
    class Shifted(d.Normal):
        def __init__(self, base, shift):
            super().__init__(base.loc + shift, base.scale)
            self.base, self.shift, self.note = base, shift, "kept"

    shifted = Shifted(d.Normal(LOW, HIGH), LOW)

    mapped = tree_map(torch.clone, shifted)

    paths = [path for path, _ in tree_paths(mapped)]
    assert paths == [".loc", ".scale", ".base.loc", ".base.scale", ".shift"]
    assert mapped.note == "kept"
    assert torch.equal(mapped.log_prob(LOW), shifted.log_prob(LOW))


def test_a_module_that_is_a_distribution_is_a_leaf():
    class Learnt(d.Normal, nn.Module):
        def __init__(self):
            nn.Module.__init__(self)
            d.Normal.__init__(self, LOW, HIGH)

    learnt = Learnt()

    assert [*tree_leaves([learnt])] == [learnt]
    assert OnMeta().moved([learnt])[0] is learnt


def test_a_mapped_distribution_can_be_copied():
    mapped = tree_map(torch.clone, flow())

    twin = copy.deepcopy(mapped)

    assert torch.equal(twin.base_dist.loc, mapped.base_dist.loc)
