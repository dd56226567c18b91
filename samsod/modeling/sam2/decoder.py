"""SAM2's mask decoder, asked for one mask of an image without prompts, as SAM2's image predictor does."""

from __future__ import annotations

import torch
from sam2.modeling.position_encoding import PositionEmbeddingRandom
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor, nn

from samsod.modeling.backbone import Decoder
from samsod.modeling.sam2.lateral import Lateral


class Sam2Decoder(Decoder):
    """The mask decoder with the settings of SAM2's released models and no stability fallback.

    Args:
        width: Channels of the pyramid.
        dense_prompt: Add the no-mask embedding.
    """

    stride = 4
    casts_alike = True

    def __init__(self, width: int, dense_prompt: bool) -> None:
        super().__init__()
        self.dense_prompt = dense_prompt
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=8 * width, num_heads=8),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
            use_high_res_features=True,
            iou_prediction_use_sigmoid=True,
            pred_obj_scores=True,
            pred_obj_scores_mlp=True,
            use_multimask_token_for_obj_ptr=True,
        )
        self.prompt = EmptyPrompt(width)

    def forward(self, pyramid: tuple[Lateral, Lateral, Tensor]) -> Tensor:
        """Maps at strides 4, 8 and 16, `[B,C,H/4,W/4]` and so on, to logits of mask token 0, `[B,1,H/4,W/4]`."""
        stride4, stride8, stride16 = pyramid
        decoder, prompt = self.mask_decoder, self.prompt
        image = stride16 + prompt.no_mem_embed.reshape(1, -1, 1, 1)
        dense = prompt.no_mask_embed.reshape(1, -1, 1, 1)
        masks, _, _, _ = decoder.predict_masks(
            image_embeddings=image,
            image_pe=prompt.positions(*image.shape[-2:]),
            sparse_prompt_embeddings=prompt.sparse(image.shape[0]),
            dense_prompt_embeddings=dense if self.dense_prompt else torch.zeros_like(dense),
            repeat_image=False,
            high_res_features=[stride4.through(decoder.conv_s0), stride8.through(decoder.conv_s1)],
        )
        return masks[:, 0:1]

    def unreachable(self) -> list[nn.Parameter]:
        """Parameters mask token 0 does not depend on: IoU and object-score heads, the other hypernetworks."""
        decoder = self.mask_decoder
        heads = [decoder.iou_prediction_head, decoder.pred_obj_score_head, *decoder.output_hypernetworks_mlps[1:]]
        return [parameter for head in heads for parameter in head.parameters()]


class EmptyPrompt(nn.Module):
    """The constants SAM2's decoder gets when no prompt is given; frozen, so they are buffers.

    Args:
        width: Channels of the decoder.
    """

    no_mem_embed: Tensor
    no_mask_embed: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("no_mem_embed", nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.register_buffer("no_mask_embed", torch.randn(1, width))
        self.position = PositionEmbeddingRandom(width // 2)

    def positions(self, height: int, width: int) -> Tensor:
        """Positional encoding of the feature map, `[1,C,height,width]`, in float32 under autocast too."""
        with torch.autocast(self.no_mem_embed.device.type, enabled=False):
            return self.position((height, width)).unsqueeze(0)

    def sparse(self, batch: int) -> Tensor:
        """No points and no boxes for each of `batch` images, `[batch,0,C]`."""
        return self.no_mask_embed.new_empty(batch, 0, self.no_mask_embed.shape[1])
