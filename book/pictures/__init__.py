"""Pictures, where people would rather look: each function takes arrays or a model and returns a matplotlib figure.

    >>> from core.optim import hot_and_cold
    >>> from book.pictures import error_bowl
    >>> def error(weight): return (0.5 * weight - 0.8) ** 2
    >>> figure = error_bowl(error, hot_and_cold(error, 0.5, 0.1, 5))

In a notebook the returned figure shows itself; `save(figure, "bowl")` writes bowl.png and bowl.svg.

    chapter 4        error_bowl, descent_trace
    chapter 5        error_bowls, weight_pictures, score_picture
    chapter 6        weight_pressure (numbers), pressure_table
    chapter 7        draw_nodes, draw_strips, formula, code, infer_shape, infer_shapes
    chapter 8        learning_curves, curves
    chapter 9        activation_curves, softmax_bars
    chapter 10       kernel_pictures, kernel_maps, strongest_answers (numbers), strongest_picture
    chapters 11, 12  word_map, vector_strips, vector_lines, principal_axes (numbers)
    chapter 14       input_gradient_norms (numbers), gradient_norms
    chapter 15       update_heatmap
"""

from book.pictures.activations import activation_curves, softmax_bars
from book.pictures.bowls import descent_trace, error_bowl, error_bowls
from book.pictures.curves import curves, learning_curves
from book.pictures.embeddings import principal_axes, vector_lines, vector_strips, word_map
from book.pictures.gradients import gradient_norms, input_gradient_norms
from book.pictures.kernels import Answer, kernel_maps, kernel_pictures, strongest_answers, strongest_picture
from book.pictures.network import infer_shape, infer_shapes
from book.pictures.network_text import code, formula
from book.pictures.nodes import draw_nodes
from book.pictures.pressure import Pressure, pressure_table, weight_pressure
from book.pictures.strips import draw_strips
from book.pictures.style import new_figure, save, style
from book.pictures.updates import update_heatmap
from book.pictures.weights import score_picture, weight_pictures

__all__ = [
    "Answer",
    "Pressure",
    "activation_curves",
    "code",
    "curves",
    "descent_trace",
    "draw_nodes",
    "draw_strips",
    "error_bowl",
    "error_bowls",
    "formula",
    "gradient_norms",
    "infer_shape",
    "infer_shapes",
    "input_gradient_norms",
    "kernel_maps",
    "kernel_pictures",
    "learning_curves",
    "new_figure",
    "pressure_table",
    "principal_axes",
    "save",
    "score_picture",
    "softmax_bars",
    "strongest_answers",
    "strongest_picture",
    "style",
    "update_heatmap",
    "vector_lines",
    "vector_strips",
    "weight_pictures",
    "weight_pressure",
    "word_map",
]
